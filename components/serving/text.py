"""From tokens to text while they come: no half characters, and no part of a stop string."""

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"


class Detokenizer:
    """Text of a growing list of tokens, given out in whole characters.

    A character may span several tokens, and what a token reads as may depend on the one before. So each step decodes a
    short window that starts at the last clean border, and waits while the window ends in a broken character. The
    pieces together equal the decoding of all tokens at once.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._start = 0  # of the window
        self._given = 0  # tokens whose text has been given out

    def add(self, token: int) -> str:
        """The text that `token` completes; empty while a character is unfinished."""
        self._tokens.append(token)
        window = self._decode(self._tokens[self._start :])
        if window.endswith(BROKEN):
            return ""
        return self._advance(window)

    def finish(self) -> str:
        """What was held back, broken characters included."""
        return self._advance(self._decode(self._tokens[self._start :]))

    def _advance(self, window: str) -> str:
        known = self._decode(self._tokens[self._start : self._given])
        if len(window) <= len(known):
            return ""
        self._start, self._given = self._given, len(self._tokens)
        return window[len(known) :]


class StopScanner:
    """Passes text through until a stop string is complete, and holds back whatever could still become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """The text that is safe to give out, and whether a stop string has been found right after it."""
        self._held += text
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            safe, self._held = self._held[: min(found)], ""
            return safe, True
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        safe, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return safe, False

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with, short of all of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
