"""What is asked about a picture, and what is the answer: the same in training and in evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.digests import digest

WHAT = "What is this?"
YES, NO = "Yes.", "No."


@dataclass(frozen=True)
class Question:
    """One question about one picture."""

    picture: int
    """The number of the picture."""
    kind: str
    """what, or whether."""
    text: str
    answer: str
    others: tuple[str, ...] = ()
    """Wrong answers."""


def questions(labels: Sequence[str], known: Sequence[str], num_others: int = 9) -> list[Question]:
    """What each picture is, and whether it is what it is and something else: three for each of `labels`, in order.

    What else it might be is drawn from `known` by hashes of the label and its number.
    """
    names = sorted(set(known))
    found = []
    for number, label in enumerate(labels):
        others = other_labels(label, names, num_others, number)
        found.append(Question(number, "what", WHAT, f"{label}.", tuple(f"{other}." for other in others)))
        found.append(Question(number, "whether", f"Is this {label}?", YES, (NO,)))
        if others:
            found.append(Question(number, "whether", f"Is this {others[0]}?", NO, (YES,)))
    return found


def other_labels(label: str, names: Sequence[str], count: int, number: int) -> list[str]:
    """`count` of `names`, or as many as there are, none of them `label`, each once."""
    start = int(digest([label, number])[:8], 16)
    found: list[str] = []
    for step in range(len(names)):
        # A stride that is no divisor of most lengths spreads them over the list, which is in the order of the alphabet.
        other = names[(start + step * 7919) % len(names)]
        if other != label and other not in found:
            found.append(other)
        if len(found) == count:
            break
    return found
