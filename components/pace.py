"""How often something that may take seconds or a month is looked at, or told of."""

import time


class Pace:
    """Often at first, then whenever a hundredth of its age has passed: each look takes something from what is looked at."""

    def __init__(self, least: float, most: float) -> None:
        """Seconds from one look to the next, at the beginning and after a long time."""
        self.least, self.most = least, most
        self._begun = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """From one look to the next, at this age."""
        return min(self.most, max(self.least, (time.monotonic() - self._begun) / 100))

    @property
    def due(self) -> bool:
        """Whether the next look is due."""
        return time.monotonic() - self._last >= self.seconds

    def looked(self) -> None:
        """This was a look."""
        self._last = time.monotonic()
