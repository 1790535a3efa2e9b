"""Preference pairs to samples: a prompt with the answer that was chosen and the one that was rejected."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

from components.artifacts import Facts, Report, Samples, SourceFiles
from components.errors import EmptyResult
from components.preparation.lines import read_lines
from components.preparation.packing import Packing
from components.preparation.speech import Speech, Turn
from components.recipe import PrepareConfig

EXPECTED = 'expected {"prompt": text, "chosen": text, "rejected": text}'


def prepare_preferences(
    config: PrepareConfig, samples: Samples, source: SourceFiles, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "preferences" from JSON lines, encoded with the processor of `samples`.

    Document 2n is the n-th prompt with its chosen answer, 2n + 1 with its rejected one; the mask is 1 on the answer and
    its end token. A pair with an answer that makes it longer than the context, or with two equal answers, teaches
    nothing sound: it is left out and counted in the facts. Raises SourceError naming file and line.
    """
    copytree(samples.processor, out / "processor")
    speech = Speech(out / "processor")
    packing = Packing(out, kind="preferences", vocab_size=samples.json("samples.json")["vocab_size"])
    pairs = list(read_preferences(source))
    num_too_long = num_equal = 0
    for done, (name, prompt, answers) in enumerate(pairs, 1):
        encoded = [speech.chat([Turn("user", prompt), Turn("assistant", answer)]) for answer in answers]
        if answers[0] == answers[1]:
            num_equal += 1
        elif max(len(ids) for ids, _ in encoded) > config.context:
            num_too_long += 1
        else:
            for side, (ids, mask) in zip(("chosen", "rejected"), encoded, strict=True):
                packing.add(ids, mask, id=f"{name}/{side}", source=source.name, licence=source.licence)
        if done % 256 == 0 or done == len(pairs):
            report({"done": done, "total": len(pairs), "unit": "pairs"})
    described = packing.close(context=config.context, eos_token_id=speech.end, pad_token_id=speech.pad)
    if not described["num_documents"]:
        raise EmptyResult(
            f"Source {source.name}: none of {len(pairs)} pairs differs in its answers and fits into {config.context} tokens."
        )
    counts = {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")}
    return {**counts, "num_too_long": num_too_long, "num_equal": num_equal}


def read_preferences(source: SourceFiles) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """(id, prompt, (chosen, rejected)) of every line of `source`: a .jsonl file, or a folder of them. Raises SourceError."""
    for line in read_lines(source, EXPECTED):
        match line.record:
            case {"prompt": str(prompt), "chosen": str(chosen), "rejected": str(rejected)}:
                yield line.id, prompt, (chosen, rejected)
            case _:
                raise line.refused(EXPECTED)
