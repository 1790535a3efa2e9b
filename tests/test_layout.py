"""The layers of docs/architecture.md, and what a checkout must hold."""

import ast
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from versions import recorded, sources_of, steps

ROOT = Path(__file__).parents[1]
STAGES = {"bases", "curation", "preparation", "planning", "training", "evaluation", "registry", "serving"}
FRAME = {"store", "ledger", "steps", "jobs", "services"}
OWNERS = {
    "prefect": {"flows"},
    "mlflow": {"components/registry"},
    "sqlalchemy": {"components/ledger"},
    "alembic": {"components/ledger"},
    "diffusers": {"components/diffusion", "components/registry"},
    "ray": {f"components/{name}" for name in ("jobs", "training", "curation", "evaluation", "serving")},
}
FILES = sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("components/**/*.py")])


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_keep_to_the_layers(path):
    parts = path.relative_to(ROOT).parts
    stage = parts[1] if parts[0] == "components" and parts[1] in STAGES else None
    for name in imports(path):
        top, *rest = name.split(".")
        assert not (parts[0] == "components" and top == "flows"), f"a component imports {name}"
        if stage and top == "components":
            assert rest[0] not in (STAGES - {stage}) | FRAME, f"stage {stage} imports {name}"
        if top in OWNERS:
            assert {parts[0], "/".join(parts[:2])} & OWNERS[top], f"{top} is used outside {OWNERS[top]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_unpickles_or_runs_foreign_code(path):
    tree = ast.parse(path.read_text())
    names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not names & {"torch.load", "torch.save", "pickle.load", "pickle.loads", "eval", "exec"}
    assert not [name for name in names if name.endswith("pyfunc.load_model")], "written from code; never read"
    through = {name for name in imports(path) if name.startswith("mlflow.pyfunc")}
    assert not through or path == ROOT / "components/registry/logged.py"
    assert not [name for name in imports(path) if name.split(".")[0] == "pickle"]
    trusting = [k for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "trust_remote_code"]
    assert all(isinstance(k.value, ast.Constant) and k.value.value is False for k in trusting)


@pytest.mark.parametrize("stem", sorted(path.stem for path in ROOT.glob("flows/*.py") if path.stem != "__init__"))
def test_a_flow_file_shadows_no_package(stem):
    """Prefect may put flows/ on sys.path, and then flows/evaluate.py would hide `import evaluate`."""
    elsewhere = [p for p in sys.path if Path(p).resolve() not in (ROOT, ROOT / "flows", ROOT / "tests" / "support")]
    assert PathFinder.find_spec(stem, elsewhere) is None


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.name)
def test_a_verb_whose_source_changed_has_a_new_version(step):
    """Otherwise results of the old code would be taken for those of the new. `python tests/support/versions.py` records."""
    known = recorded()[step.name]
    if sources_of(step) != known["source"]:
        pytest.fail(
            f"The code of step {step.name} has changed: raise its version ({known['version']}) where it is defined in "
            "flows/, unless the same input still gives the same bytes, and record it: python tests/support/versions.py"
        )
    assert step.version == known["version"]


def test_telemetry_is_off_before_any_engine_is_imported():
    code = "from components.settings import settings; settings(); import os; print(os.environ['DO_NOT_TRACK'])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "true"
    )


def test_prefect_yaml_is_what_the_recipes_say():
    from flows.deployments import prefect_yaml

    assert (ROOT / "infra" / "prefect.yaml").read_text() == prefect_yaml()


def test_the_shipped_data_is_small():
    assert sum(path.stat().st_size for path in (ROOT / "flows/recipes/data").rglob("*") if path.is_file()) < 3_000_000
