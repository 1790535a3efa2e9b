"""Tasks: multiple-choice questions from an evaluation source, scored by lm-eval (EleutherAI's harness).

A source is JSON lines {"question": str, "choices": [str, ...], "answer": index}. The model's answer is the choice with
the highest summed log-probability after the question. Nothing is fetched: the items are handed over in memory.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import Report, SourceFiles
from components.errors import SourceError, UnknownName
from components.recipe import Task
from components.sources import source_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Item = dict[str, Any]
EXPECTED = 'expected {"question": string, "choices": [two or more strings], "answer": index of a choice}'


def run_tasks(
    tasks: tuple[Task, ...],
    items: tuple[SourceFiles, ...],
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    scratch: Path,
    report: Report,
) -> dict[str, dict[str, Any]]:
    """{"<task>_accuracy": {"value", "stderr" or None for a single question, "unit": "fraction"}} for every task.

    The items of a task are those called `task.source`. `model` is in evaluation mode and fp32; `scratch` stays empty.
    Raises UnknownName for a source that is not among `items`, SourceError for a line that is no item.
    """
    questions = {task.name: _items_of(task, items) for task in tasks}
    if not tasks:
        return {}
    from lm_eval.evaluator import evaluate

    from components.evaluation.lm import Questions, TransformersLM

    # lm-eval draws progress bars on standard error; progress goes through `report`. Accuracy's standard error is
    # analytic, so the number of bootstrap draws only has to be above zero.
    with redirect_stderr(StringIO()):
        built = {task.name: Questions(task, questions[task.name]) for task in tasks}
        lm = TransformersLM(model, tokenizer, report)
        found = evaluate(lm, {"tasks": built}, bootstrap_iters=1, log_samples=False)
    return {f"{task.name}_accuracy": _score(found["results"][task.name]) for task in tasks}


def read_items(source: SourceFiles) -> list[Item]:
    """The items of a source, a JSON-lines file or a folder of them. Raises SourceError with the file and the line."""
    found = []
    for file in source_files(source.path):
        if file != source.path and file.suffix != ".jsonl":
            continue
        name = file.name if file == source.path else file.relative_to(source.path).as_posix()
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            raise SourceError(f"Source {source.name}: {name} cannot be read: {error.strerror}.") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                found.append(_item(line, f"Source {source.name}: {name} line {number}"))
    if not found:
        raise SourceError(f"Source {source.name} has no items: {EXPECTED} on each line.")
    return found


def _items_of(task: Task, items: Sequence[SourceFiles]) -> list[Item]:
    sources = {source.name: source for source in items}
    if task.source not in sources:
        raise UnknownName(f"source of task {task.name}", task.source, sorted(sources))
    found = read_items(sources[task.source])
    # The examples before a question are drawn from the other items; copies of the question do not count.
    others = len(found) - max(Counter(map(json.dumps, found)).values())
    if others < task.few_shot:
        raise SourceError(
            f"Source {task.source}: {others} items besides the question, task {task.name} wants {task.few_shot} examples."
        )
    return found


def _item(line: bytes, where: str) -> Item:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise SourceError(f"{where} is not JSON: {EXPECTED}.") from None
    if not isinstance(record, dict):
        raise SourceError(f"{where} is a {type(record).__name__}: {EXPECTED}.")
    for key, wrong in WRONG.items():
        if key not in record:
            raise SourceError(f'{where} has no "{key}": {EXPECTED}.')
        if wrong(record):
            raise SourceError(f'{where} has "{key}" = {_shortened(record[key])}: {EXPECTED}.')
    return {key: record[key] for key in WRONG}


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_text(value: Any) -> bool:
    """Whether `value` is a string with something to see, which no lone surrogate keeps from being UTF-8."""
    return isinstance(value, str) and bool(value.strip()) and value.encode("utf-8", "replace").decode() == value


def _wrong_choices(record: Item) -> bool:
    choices = record["choices"]
    return not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_text, choices))


def _wrong_answer(record: Item) -> bool:
    answer = record["answer"]
    return type(answer) is not int or not 0 <= answer < len(record["choices"])


WRONG: dict[str, Callable[[Item], bool]] = {
    "question": lambda record: not _is_text(record["question"]),
    "choices": _wrong_choices,
    "answer": _wrong_answer,
}
"""What an item must hold, and what is wrong with it; "answer" is looked at after "choices"."""


def _score(result: dict[str, Any]) -> dict[str, Any]:
    stderr = result["acc_stderr,none"]
    return {
        "value": float(result["acc,none"]),
        "stderr": None if stderr == "N/A" else float(stderr),
        "unit": "fraction",
    }
