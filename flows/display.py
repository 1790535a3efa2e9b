"""What the `headwater` command shows to people: progress while a run goes on, and a summary at its end."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from components.ledger import Ledger, runs, work
from components.ledger.tables import RunRow
from flows.notes import noted

STATUS_STYLE = {"executed": "green", "skipped": "dim", "failed": "red", "running": "yellow"}


class Watcher:
    """Shows a run's steps as they come, with a bar for the one that reports progress. Writes to standard error."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.console = Console(stderr=True, markup=False)  # what is shown has brackets of its own
        self.shown: dict[str, str] = {}
        self.last: dict[str, int] = {}
        self.bar: TaskID | None = None
        self.status = ""
        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(30),
            TextColumn("{task.percentage:>3.0f}% {task.fields[note]}", markup=False),
        )
        self.progress = Progress(
            *columns, TimeElapsedColumn(), console=self.console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> "Watcher":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, row: RunRow) -> None:
        """Show what has changed since the last look."""
        plan = (row.outcome or {}).get("plan")
        if plan and "plan" not in self.shown:
            self.shown["plan"] = "shown"
            self.console.print(f"plan: {plan['text']}", soft_wrap=True)
        for step in runs.steps_of(self.ledger, row.id):
            if step.status == "running":
                self._advance(step.name, step.identity)
            if self.shown.get(step.name) != step.status:
                self.shown[step.name] = step.status
                self._line(step.name, step.status, step.seconds)
        if row.status != self.status:
            self.status = row.status
            self.console.print(f"run {row.id}: {row.status}")

    def _line(self, name: str, status: str, seconds: float) -> None:
        if status == "running":
            self._close()
            self.bar = self.progress.add_task(name, total=None, note="")
        else:
            self._close()
            took = f" in {seconds:.1f} s" if status == "executed" else ""
            self.console.print(Text.assemble("  ", (f"{status:>8}", STATUS_STYLE.get(status, "")), f" {name}{took}"))

    def _advance(self, name: str, identity: str) -> None:
        for report in work.progress_after(self.ledger, identity, self.last.get(identity, 0)):
            self.last[identity] = report.id
            if "warning" in report.row:
                self.console.print(f"  {name}: {report.row['warning']}", style="yellow")
            if "text" in report.row:
                self.console.print(f"  {name} after {report.row['after']}: {report.row['text']!r}")
            if self.bar is not None and report.row.get("total"):
                note = noted(report.row)
                self.progress.update(self.bar, total=report.row["total"], completed=report.row["done"], note=note)

    def _close(self) -> None:
        if self.bar is not None:
            self.progress.remove_task(self.bar)
            self.bar = None


def print_summary(summary: dict[str, Any], addresses: dict[str, str], key_file: str) -> None:
    """Steps with their times, scores, what was decided, and what to open."""
    console = Console(markup=False)
    steps = Table(
        "step",
        "status",
        "seconds",
        "budget",
        title=f"Run {summary['run']}: {summary['status']} in {summary['seconds']:.0f} s",
        title_justify="left",
    )
    for step in summary["steps"]:
        took = f"{step['seconds']:.1f}" if step["status"] != "skipped" else ""
        steps.add_row(step["name"], step["status"], took, f"{step['budget_seconds'] or 0:.0f}")
    for act in summary["acts"]:
        steps.add_row(
            act["name"],
            "changed" if act["changed"] else "no change",
            f"{act['seconds']:.1f}" if act["changed"] else "",
            "",
        )
    console.print(steps)
    if summary["costs"]:
        console.print(_costs(summary["costs"]))
    if summary["scaling"]:
        console.print(in_words(summary["scaling"]), highlight=False, soft_wrap=True)
        if summary["scaling"]["gain_per_money"]:
            console.print(_gains(summary["scaling"]))
    if summary["scores"]:
        console.print(_scores(summary))
    for line in summary["gate"]:
        console.print(f"gate: {line}", highlight=False)
    if summary["decision"]:
        decided = summary["decision"]
        claimed = "" if decided["how"] == "auto" else " (as claimed)"
        console.print(f"{decided['decision']} by {decided['by']}{claimed}: {decided['reason']}", highlight=False)
    _closing(console, summary, addresses, key_file)


def _costs(costs: list[dict[str, Any]]) -> Table:
    """What training took beside what the plan had said."""
    table = Table("phase", "", "planned", "actual", "off", title="Plan and actual", title_justify="left")
    units = {"seconds": (1, "s"), "memory_bytes": (2**30, "GiB"), "tokens": (1, ""), "flops": (1e12, "TFLOP")}
    for cost in costs:
        for name, actual in cost["actual"].items():
            size, unit = units[name]
            planned = f"{cost['estimated'][name] / size:,.4g} {unit}".strip()
            title = name.removesuffix("_bytes") + ("" if cost["measured"] else " (by formula)")
            table.add_row(
                cost["phase"], title, planned, f"{actual / size:,.4g} {unit}".strip(), f"{cost['off'][name]:+.0%}"
            )
    return table


def in_words(told: dict[str, Any]) -> str:
    """The prediction of a ladder in a sentence or two."""
    low, high = told["predicted"]["interval"]
    best, target = told["optimum"], told["target"]
    line = (
        f"{target['size']} on {target['tokens']:,} tokens: {told['predicted']['loss']:.4f} nats per token predicted "
        f"by {told['predicted']['by'].capitalize()}'s law ({low:.4f} to {high:.4f}); the best use of its {target['flops']:.3g} FLOPs is "
    )
    line += (
        f"{best['parameters']:.3g} parameters on {best['tokens']:.3g} tokens, {best['loss']:.4f} nats."
        if best
        else "not determined by these runs: give the ladder sizes and budgets that are further apart."
    )
    found = told.get("found")
    if found is None:
        return line
    order = "" if found["foretold"] else " (it had been trained before the prediction was written)"
    return f"{line} Found: {found['loss']:.4f}; the prediction is off by {found['off']:+.2%}{order}."


def _gains(told: dict[str, Any]) -> Table:
    """What more compute would bring beyond the target's, by accelerator."""
    table = Table("accelerator", f"nats for 1 {told['currency']} more", title="Marginal gain", title_justify="left")
    for name, gain in told["gain_per_money"].items():
        table.add_row(name, f"{gain:.3g}")
    return table


def _scores(summary: dict[str, Any]) -> Table:
    scores = Table("score", "value", "standard error", title="Scores", title_justify="left")
    for name, value in summary["scores"].items():
        error = summary["stderr"].get(name)
        scores.add_row(name, f"{value:.4g}", "" if error is None else f"{error:.2g}")
    return scores


def _closing(console: Console, summary: dict[str, Any], addresses: dict[str, str], key_file: str) -> None:
    model = summary["model"]
    if summary["error"]:
        said = Text.assemble((summary["status"], "red"), f": {summary['error']}")
        console.print(said, highlight=False, soft_wrap=True)
    if summary["status"] == "waiting" and model:
        ref = f"{model['name']}/{model['version']}"
        console.print(
            f"{ref} waits for a decision: headwater approve {ref} --by WHO --reason WHY   (headwater why {ref})",
            soft_wrap=True,
        )
    rows = {**{f"{name} report": page for name, page in summary["reports"].items()}, **addresses}
    rows["sign in"] = f"with the files in {Path(key_file).parent} (docs/quickstart.md)"
    for name, place in rows.items():
        console.print(f"{name:<20}{place}", highlight=False, soft_wrap=True)
    if summary["status"] == "completed" and summary["example"]:
        print(curl_line(summary["endpoint"], summary["example"], key_file))
    sys.stdout.flush()


def curl_line(endpoint: str, example: dict[str, Any], key_file: str) -> str:
    """The request of `example` as a line that works when it is pasted into a shell on this machine."""
    body = shlex.quote(json.dumps(example["body"], ensure_ascii=False))
    return (
        f'curl -s {endpoint}/{example["path"]} -H "Authorization: Bearer $(cat {shlex.quote(key_file)})" '
        f"-H 'Content-Type: application/json' -d {body}"
    )


def print_rows(rows: list[dict[str, Any]], columns: list[str], empty: str) -> None:
    """Rows as a table, or a sentence where there are none."""
    if not rows:
        print(empty)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table)


IDS = ("identity", "git_commit")
"""What of a lineage node is shown shortened: --json has it whole."""


def print_tree(node: dict[str, Any], indent: int = 0, seen: set[tuple[str, str]] | None = None) -> None:
    """A lineage tree, one line a node; what stands above already is not unfolded again."""
    seen = set() if seen is None else seen
    hidden = ("inputs", "kind", "ref", "digest", "path") + (() if node.get("git_dirty") else ("git_dirty",))
    shown = {key: _cell(value) for key, value in node.items() if key not in hidden and value not in (None, "")}
    rest = "  ".join(f"{key}={value[:12] if key in IDS else value}" for key, value in shown.items())
    itself = (node["kind"], node["digest"])
    known = node["inputs"] and itself in seen
    seen.add(itself)
    told = "(as above)" if known else f"{node['digest'][:12]}  {rest}"
    print(f"{'  ' * indent}{node['kind']} {node['ref']}  {told}".rstrip())
    for below in [] if known else node["inputs"]:
        print_tree(below, indent + 1, seen)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
