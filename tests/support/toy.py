"""Verbs for tests of steps: real work on files, small enough to be killed hundreds of times."""

import sys
from pathlib import Path

from components.errors import EmptyResult
from components.ledger import Ledger
from components.recipe.fields import Strict
from components.steps import Input, Step, declare, perform
from components.store import Store


class ToyConfig(Strict):
    text: str = "water"


def write(config, *inputs, out, scratch, report):
    """Two files, and a line in scratch for every time the work is done."""
    with (scratch / "times.txt").open("a") as times:
        times.write("done\n")
    if config.text == "empty":
        raise EmptyResult("nothing is left of 'empty'")
    (out / "inner").mkdir()
    (out / "a.txt").write_text(config.text)
    (out / "inner" / "b.txt").write_text(config.text[::-1] + "".join((i.path / "a.txt").read_text() for i in inputs))
    report({"done": 1, "total": 1, "unit": "files"})
    return {"length": len(config.text)}


TOY = Step("toy", 1, "toy:write", "toy:ToyConfig", "corpus", "here")


def chain(home: Path) -> list[str]:
    """Two steps, the second on what the first made; their digests."""
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    first = perform(ledger, store, home / "scratch", declare(ledger, TOY, ToyConfig(), [], "first").identity, "run-1")
    given = [Input("corpus", "corpus", first.digest)]
    second = perform(
        ledger, store, home / "scratch", declare(ledger, TOY, ToyConfig(text="wine"), given, "second").identity, "run-1"
    )
    return [first.digest, second.digest]


if __name__ == "__main__":
    print(*chain(Path(sys.argv[1])))
