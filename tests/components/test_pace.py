"""How often something is looked at."""

import time
from itertools import pairwise

from components.pace import Pace


def test_looks_become_rarer_with_age_and_stay_within_bounds(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace, looks = Pace(0.5, 10.0), []
    while now < 1000.0 + 86_400:
        if pace.due:
            pace.looked()
            looks.append(now - 1000.0)
        now += 0.25
    gaps = [after - before for before, after in pairwise(looks)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (0.5, 10.0)
    assert sum(look < 60 for look in looks) > 100, "people see a short step move"
    assert len(looks) < 9_500, "a long one says no more than it has to"
