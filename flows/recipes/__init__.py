"""The recipes and the data that ship with Headwater."""

from pathlib import Path

from components.errors import SourceError

HERE = Path(__file__).parent
DATA = HERE / "data"


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe that ships with Headwater."""
    return {path.stem: path for path in sorted(HERE.glob("*.toml"))}


def shipped_data(name: str) -> Path:
    """The file or folder called `name` (as in austen or tiny/austen); raises SourceError naming the known ones."""
    inside = [path for path in DATA.rglob("*") if path.is_dir() or (path.parent == DATA and path.name != "README.md")]
    known = sorted(path.relative_to(DATA).as_posix() for path in inside)
    if name not in known:
        raise SourceError(f"No shipped data called {name!r}. Known: {', '.join(known)}.")
    return DATA / name
