"""What others take of a machine while steps are timed."""

import subprocess
import sys

import pytest

from components.training.group import Group
from components.training.others import Others, undisturbed

BUSY = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_processor_time_of_another_process_is_seen():
    others = Others(Group.current())
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert others.seconds() > 0.4


@pytest.mark.parametrize(
    ("others", "wanted", "cores", "expected"),
    [
        (0.0, 2, 2, 10.0),  # nobody else
        (4.0, 2, 2, 8.0),  # a fifth of the machine was theirs
        (4.0, 1, 2, 10.0),  # they had the other core
        (12.0, 1, 2, 8.0),  # and part of this one
        (4.0, 4, 2, 8.0),  # no more cores can be wanted than there are
        (1000.0, 2, 2, 5.0),  # never believed to be more than half
    ],
)
def test_what_others_took_of_the_cores_that_were_wanted_is_taken_off(others, wanted, cores, expected):
    assert undisturbed(10.0, others, wanted, cores) == pytest.approx(expected)
