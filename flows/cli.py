"""The `headwater` command: parse, call, print. Exit status 0 done or waiting, 1 the work failed, 2 the input is wrong."""

import argparse
import sys
from importlib import import_module

from components.errors import HeadwaterError, NotYet

DESCRIPTION = "From raw documents to an approved, served foundation model."
REF = "a run, an artifact digest (or its first 8 characters), or MODEL/VERSION"


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    asked = _parser().parse_args(argv)
    try:
        module, _, function = asked.command.partition(":")
        return int(getattr(import_module(module), function)(asked) or 0)
    except HeadwaterError as error:
        print(f"headwater: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(
            "headwater: stopped watching; the run goes on, and the same command attaches to it again.", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        return 1


def not_yet(asked: argparse.Namespace) -> int:
    """A command whose name is taken and whose work is still to come."""
    raise NotYet(f"{asked.name}: not yet.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headwater", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: str, help: str, json: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(command=command)
        if json:
            sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        return sub

    add("up", "flows.housekeeping:up", "start Prefect, MLflow, Ray and Serve on loopback; print their addresses")
    add("down", "flows.housekeeping:down", "stop everything that `up` started", json=False)
    add("status", "flows.housekeeping:status", "say which services are healthy (exit status 1 if one is not)")
    add(
        "env",
        "flows.housekeeping:env",
        "print export lines by which prefect, mlflow, ray, serve and curl reach the services",
        json=False,
    )
    add("doctor", "flows.housekeeping:doctor", "check this machine, with the command that mends each lack")
    _recipe_commands(add)
    _asking_commands(add)
    _deciding_commands(add)
    return parser


def _recipe_commands(add) -> None:  # type: ignore[no-untyped-def]
    init = add(
        "init",
        "flows.beginning:init",
        "make a folder with a commented recipe and files to replace by your own",
        json=False,
    )
    init.add_argument("folder", metavar="DIR")
    plan = add(
        "plan", "flows.running:plan", "parameters, tokens, FLOPs, memory, time and money of a recipe; runs nothing"
    )
    run = add("run", "flows.running:run", "take a recipe through its whole lifecycle, or follow the run that does")
    scale = add(
        "scale",
        "flows.running:scale",
        "train a ladder of small runs, and predict the loss of the recipe's own from the law that they follow",
    )
    for sub in (plan, run, scale):
        sub.add_argument("recipe", help="a .toml file, or the name of a shipped recipe")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change one field, as in prepare.context=128",
        )
    run.add_argument("--dry-run", action="store_true", help="say which steps would run, and what forces each")
    for sub in (run, scale):
        sub.add_argument("--detach", action="store_true", help="submit and return")
    cancel = add("cancel", "flows.running:cancel", "cancel a run; a job that another run waits for goes on", json=False)
    cancel.add_argument("run")


def _asking_commands(add) -> None:  # type: ignore[no-untyped-def]
    add("runs", "flows.asking:list_runs", "the newest runs")
    add("models", "flows.asking:list_models", "every registered version with its aliases and decision")
    for name, help in (
        ("show", "what there is to know of a REF"),
        ("why", "what a REF was made of, down to every source and licence"),
    ):
        add(name, f"flows.asking:{name}", help).add_argument("ref", help=REF)
    add(
        "logs",
        "flows.asking:logs",
        "what the flow and the jobs of a run, or the job of a step, have printed",
        json=False,
    ).add_argument("ref", help=REF)
    diff = add("diff", "flows.asking:diff", "what differs between two runs or versions: recipe, steps, scores")
    diff.add_argument("a", help=REF)
    diff.add_argument("b", help=REF)
    add("verify", "flows.asking:verify", "recompute every digest: store, checkpoints and MLflow's copies")
    export = add("export", "flows.asking:export", "copy a model as a standard Hugging Face folder, or as a GGUF file")
    export.add_argument("model", metavar="MODEL[/VERSION]")
    export.add_argument("--to", required=True, metavar="PLACE", help="a folder, or a file that ends in .gguf")
    add("reproduce", "flows.cli:not_yet", "run a version's recipe anew and compare (not yet)").add_argument("version")


def _deciding_commands(add) -> None:  # type: ignore[no-untyped-def]
    for name in ("approve", "reject"):
        decide = add(name, f"flows.deciding:{name}", f"{name} a candidate; its run goes on")
        decide.add_argument("version", metavar="MODEL/VERSION")
        decide.add_argument("--by", required=True, help="your name; recorded as claimed")
        decide.add_argument("--reason", required=True)
    deploy = add("deploy", "flows.deciding:deploy", "serve an approved version as champion")
    deploy.add_argument("model", metavar="MODEL[/VERSION]")
    deploy.add_argument("--canary", metavar="PERCENT", help="not yet")
    deploy.add_argument("--shadow", action="store_true", help="not yet")
    add("rollback", "flows.cli:not_yet", "go back to the champion before (not yet)").add_argument("model")


if __name__ == "__main__":
    sys.exit(main())
