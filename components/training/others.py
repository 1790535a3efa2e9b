"""What other processes take of this machine while steps are timed, and how long the steps would take without them."""

import os

import psutil
import torch

from components.training.group import Group


class Others:
    """The processor time that is spent from one moment on by everyone but the workers of `group`, all on this machine."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.before = _spent()

    def seconds(self) -> float:
        """How much it has been, over all cores. Every worker asks at the same time, and all hear the same."""
        everyone, own = (after - before for after, before in zip(_spent(), self.before, strict=True))
        vector = torch.tensor([everyone, own], dtype=torch.float64, device=self.group.device)
        self.group.add(vector)
        return max(0.0, float(vector[0]) / self.group.world_size - float(vector[1]))


def undisturbed(seconds: float, others: float, wanted: int, cores: int) -> float:
    """How long something that took `seconds` on `wanted` of the machine's `cores` takes while nobody else works.

    Others spent `others` seconds of processor time meanwhile; what the free cores did not have for them was lost, by all
    of the wanted cores alike, for workers wait for one another.
    """
    wanted = min(wanted, cores)
    lost = max(0.0, others - (cores - wanted) * seconds)
    return seconds - min(lost / wanted, seconds / 2)


def _spent() -> tuple[float, float]:
    """Processor seconds of all processes since the machine was started, and of this one."""
    everyone, own = psutil.cpu_times(), os.times()
    return everyone.user + everyone.nice + everyone.system, own.user + own.system
