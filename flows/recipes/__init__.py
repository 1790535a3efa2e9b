"""The recipes and the data that ship with Headwater."""

from pathlib import Path

from components.errors import SourceError

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe that ships with Headwater."""
    return {path.stem: path for path in sorted(HERE.glob("*.toml"))}


def shipped_data(name: str) -> Path:
    """The file or folder called `name` among the shipped data; raises SourceError naming the known ones."""
    path = (DATA / name).resolve()
    if DATA not in path.parents or ".." in name or not path.exists():
        known = sorted(path.name for path in DATA.iterdir() if path.suffix != ".md")
        raise SourceError(f"No shipped data called {name!r}. Known: {', '.join(known)}.")
    return path
