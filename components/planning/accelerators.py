"""The table of accelerators and prices: the one that ships, with what the user has written over it."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from components.errors import InputError
from components.recipe.fields import Fraction, Strict

SHIPPED = Path(__file__).with_name("accelerators.toml")
FILE = "accelerators.toml"
"""What the user's own table is called, in HEADWATER_HOME."""


class Accelerator(Strict):
    """One kind of device."""

    memory_bytes: int = Field(gt=0)
    peak: dict[str, float]
    """Precision -> FLOP/s of dense matrix products."""
    watts: float = Field(ge=0)
    price_per_hour: float = Field(ge=0)
    source: str
    """Where these figures come from."""
    utilisation: Fraction | None = None
    """The part of the peak that training reaches; None takes the table's."""

    def precision(self, wanted: str) -> str:
        """The precision that training would take here: `wanted` where it is there, else bf16, else fp32."""
        return next(name for name in (wanted, "bf16", "fp32", *self.peak) if name in self.peak)


class ThisMachine(Strict):
    """What the machine at hand costs."""

    price_per_hour: float = Field(0.0, ge=0)
    watts_per_core: float = Field(0.0, ge=0)


class Accelerators(Strict):
    """The whole table."""

    currency: str
    utilisation: Fraction
    machine: ThisMachine
    accelerators: dict[str, Accelerator]

    def flops_per_money(self, wanted: str) -> dict[str, float]:
        """FLOPs of training that a unit of money buys, by accelerator, in the precision `wanted` where it is there."""
        bought = {}
        for name, row in self.accelerators.items():
            if row.price_per_hour:
                rate = row.peak[row.precision(wanted)] * (row.utilisation or self.utilisation)
                bought[name] = 3600 * rate / row.price_per_hour
        return bought


def accelerators(home: Path | None = None) -> Accelerators:
    """The shipped table, with accelerators.toml of the folder `home` read over it.

    Raises InputError naming the file and the key that is wrong.
    """
    content = tomllib.loads(SHIPPED.read_text())
    own = home / FILE if home else None
    if own is None or not own.exists():
        return Accelerators.model_validate(content)
    try:
        return Accelerators.model_validate(_over(content, tomllib.loads(own.read_text())))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{own} is not valid TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{own}: {where}: {first['msg']}; {SHIPPED} shows every key.") from None


def _over(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`shipped` with `own` laid over it, table by table."""
    both = dict(shipped)
    for key, value in own.items():
        before = both.get(key)
        both[key] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return both
