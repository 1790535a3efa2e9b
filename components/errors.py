"""Every error that Headwater raises on purpose.

HeadwaterError                exit status 1: the work failed
├── InputError                exit status 2: what was asked for is wrong; nothing was changed
│   ├── RecipeError           a recipe that cannot be read or does not validate
│   ├── SourceError           a source that is missing, unreadable, unlicensed or not what it claims to be
│   ├── UnknownName           a family, size, filter, task, objective or other name that does not exist
│   ├── UnknownRef            a REF that names no run, artifact or model version
│   ├── DecisionError         an approval that may not be given
│   └── NotYet                a command that exists in name only
├── EmptyResult               a stage that was left with nothing to pass on
├── StoreError                an artifact that is missing, torn or not what its digest says
├── StepFailed                a step whose work raised; carries the step's name
├── LeaseLost                 another process has taken over this run or step
├── GateRefused               a model that does not meet the recipe's thresholds
├── ServiceError              an engine that does not start or does not answer
└── TrainingError             training that cannot go on (not finite, no usable checkpoint, ...)
"""

from collections.abc import Iterable


class HeadwaterError(Exception):
    """The work failed; the message is one or two lines for a person."""

    exit_status = 1


class InputError(HeadwaterError):
    """What was asked for is wrong, and nothing was changed."""

    exit_status = 2


class RecipeError(InputError):
    """A recipe cannot be read or does not validate."""


class SourceError(InputError):
    """A source is missing, unreadable, unlicensed or not what it claims to be."""


class UnknownName(InputError):
    """A name that does not exist, with the ones that do."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"Unknown {what} {name!r}. Known: {', '.join(known)}.")


class UnknownRef(InputError):
    """A REF that names no run, artifact or model version."""


class DecisionError(InputError):
    """An approval that may not be given."""


class NotYet(InputError):
    """A command or option whose name exists and whose work does not."""


class EmptyResult(HeadwaterError):
    """A stage was left with nothing to pass on. Usually a matter of the recipe, hence exit status 2."""

    exit_status = 2


class StoreError(HeadwaterError):
    """An artifact is missing, torn or not what its digest says."""


class StepFailed(HeadwaterError):
    """The work of a step raised; the message names the step and the cause."""


class LeaseLost(HeadwaterError):
    """Another process has taken over this run or step."""


class GateRefused(HeadwaterError):
    """A model does not meet the recipe's thresholds."""


class ServiceError(HeadwaterError):
    """An engine does not start or does not answer."""


class TrainingError(HeadwaterError):
    """Training cannot go on: a loss that is not finite, no usable checkpoint."""
