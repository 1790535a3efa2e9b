"""Instruction pairs to samples: each chat is rendered with the chat template, with a mask on what the model says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.artifacts import Facts, Report, Samples, SourceFiles
from components.errors import EmptyResult, SourceError
from components.preparation.lines import Line, read_lines
from components.preparation.packing import Packing
from components.preparation.speech import Speech, Turn
from components.recipe import PrepareConfig

EXPECTED = (
    'expected {"prompt": text, "completion": text} or {"messages": [{"role", "content"}, ...]}, '
    "where system may lead, user and assistant take turns and assistant is last"
)


def prepare_chats(
    config: PrepareConfig, samples: Samples, source: SourceFiles, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "chats" from JSON lines, encoded with the processor of `samples`.

    The mask is 1 on each answer and its end token. A chat longer than the context is left out and counted in the
    facts: cut, it would teach the model to stop in mid-sentence. Raises SourceError naming file and line.
    """
    from shutil import copytree

    copytree(samples.processor, out / "processor")
    speech = Speech(out / "processor")
    packing = Packing(out, kind="chats", vocab_size=samples.json("samples.json")["vocab_size"])
    chats = list(read_chats(source))
    num_too_long = 0
    for done, (name, turns) in enumerate(chats, 1):
        try:
            ids, mask = speech.chat(turns)
        except SourceError as error:
            raise SourceError(f"{name}: {error}") from None
        if len(ids) > config.context:
            num_too_long += 1
        else:
            packing.add(ids, mask, id=name, source=source.name, licence=source.licence)
        if done % 256 == 0 or done == len(chats):
            report({"done": done, "total": len(chats), "unit": "chats"})
    described = packing.close(context=config.context, eos_token_id=speech.end, pad_token_id=speech.pad)
    if not described["num_documents"]:
        raise EmptyResult(
            f"Source {source.name}: none of {len(chats)} chats fits into the context of {config.context} tokens."
        )
    counts = {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")}
    return {**counts, "num_too_long": num_too_long}


def read_chats(source: SourceFiles) -> Iterator[tuple[str, list[Turn]]]:
    """(id, turns) of every chat of `source`: a .jsonl file, or a folder of them. Raises SourceError."""
    for line in read_lines(source, EXPECTED):
        yield line.id, _turns(line)


def _turns(line: Line) -> list[Turn]:
    messages = _messages(line.record)
    talk = messages[1:] if messages and messages[0].role == "system" else messages
    roles = [turn.role for turn in talk]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise line.refused(EXPECTED)
    return messages


def _messages(record: Any) -> list[Turn]:
    """The messages of a well-formed record; empty where it has none."""
    match record:
        case {"prompt": str(prompt), "completion": str(completion)}:
            return [Turn("user", prompt), Turn("assistant", completion)]
        case {"messages": [*messages]}:
            turns = [m for m in messages if isinstance(m, dict) and isinstance(m.get("content"), str)]
            return [Turn(str(m.get("role")), m["content"]) for m in turns] if len(turns) == len(messages) else []
        case _:
            return []
