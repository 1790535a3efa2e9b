"""Which code each step's result depends on, and the version under which it was recorded."""

import ast
import hashlib
import json
from importlib import import_module
from pathlib import Path

from components.steps import Step

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "steps.json"
BESIDE = {
    "train": ["components/models", "components/diffusion"],
    "join": ["components/models", "components/diffusion"],
    "take": ["components/models", "components/diffusion"],
    "curate": ["components/sources.py", "components/passages.py"],
    "answers": ["components/passages.py"],
    "questions": ["components/questions.py"],
    "evaluate": ["components/questions.py", "components/passages.py", "components/diffusion"],
}
"""What a step's verb uses beyond its own folder."""


def steps() -> list[Step]:
    """Every step that the flows define."""
    modules = [import_module(f"flows.{name}") for name in ("bases", "curation", "training", "evaluation", "scaling")]
    found = {step.name: step for module in modules for step in vars(module).values() if isinstance(step, Step)}
    return [found[name] for name in sorted(found)]


def sources_of(step: Step) -> str:
    """A digest of the code behind a step: its syntax without comments and docstrings, so that words may change."""
    folder = Path(step.verb.partition(":")[0].replace(".", "/")).parent.as_posix()
    digest = hashlib.sha256()
    for place in [folder, *BESIDE.get(step.name, [])]:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT)}\n{_syntax(file.read_text())}\n".encode())
    return digest.hexdigest()


def recorded() -> dict[str, dict[str, object]]:
    """Version and source digest of every step, as they were recorded last."""
    return json.loads(RECORD.read_text())


def _syntax(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


if __name__ == "__main__":
    rows = {step.name: {"version": step.version, "source": sources_of(step)} for step in steps()}
    RECORD.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"{len(rows)} steps recorded in {RECORD.relative_to(ROOT)}")
