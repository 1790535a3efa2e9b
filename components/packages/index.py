"""Python packages from the index that pip is configured with, read as PEP 503 and 691 describe.

pip itself is not asked to download: to name a source distribution it runs that package's build code.
"""

import hashlib
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import httpx
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from components.errors import SourceError
from components.packages.names import Package

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
PUBLIC = "https://pypi.org/simple"


def from_index(package: Package, folder: Path, told: Callable[[int, int | None], None]) -> Path:
    """Download a wheel or an sdist into `folder`; `told` hears bytes so far and in all. Raises SourceError."""
    settings = _pip_settings()
    base = settings.get("index-url", PUBLIC).rstrip("/")
    context = ssl.create_default_context(cafile=settings.get("cert"))
    try:
        with httpx.Client(follow_redirects=True, timeout=60, verify=context) as client:
            page = client.get(f"{base}/{canonicalize_name(package.name)}/", headers={"Accept": ACCEPT})
            if page.status_code == 404:
                raise SourceError(f"{package}: the index {_shown(base)} has no package {package.name}.")
            page.raise_for_status()
            name, address, sha256 = _choose(package, list(_files(page)))
            return _download(client, package, address, folder / name, sha256, told)
    except httpx.HTTPError as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{package} cannot be fetched from {_shown(base)}: {why}.") from None


def _download(
    client: httpx.Client,
    package: Package,
    address: str,
    to: Path,
    sha256: str | None,
    told: Callable[[int, int | None], None],
) -> Path:
    found = hashlib.sha256()
    with client.stream("GET", address) as response, to.open("wb") as file:
        response.raise_for_status()
        total = response.headers.get("Content-Length")
        for chunk in response.iter_bytes(1 << 20):
            file.write(chunk)
            found.update(chunk)
            told(file.tell(), int(total) if total else None)
    if sha256 and found.hexdigest() != sha256:
        raise SourceError(f"{package}: {to.name} has the SHA-256 {found.hexdigest()}, the index says {sha256}.")
    return to


def _choose(package: Package, files: list[tuple[str, str, str | None]]) -> tuple[str, str, str | None]:
    """The file of that version: of wheels the one that fits this machine best. Raises SourceError."""
    order = {tag: place for place, tag in enumerate(sys_tags())}
    fitting, versions = [], set()
    for file in files:
        try:
            if package.kind == "sdist":
                _, version = parse_sdist_filename(file[0])
                place = 0
            else:
                _, version, _, tags = parse_wheel_filename(file[0])
                place = min((order[tag] for tag in tags if tag in order), default=-1)
        except (InvalidVersion, InvalidWheelFilename, ValueError):
            continue
        versions.add(version)
        if version == Version(package.version) and place >= 0:
            fitting.append((place, file))
    if not fitting:
        what = "source distribution" if package.kind == "sdist" else "wheel for this machine"
        known = ", ".join(str(version) for version in sorted(versions)[-8:]) or "none"
        raise SourceError(f"{package}: the index has no {what} of that version. Versions with one: {known}.")
    return min(fitting)[1]


def _files(page: httpx.Response) -> Iterator[tuple[str, str, str | None]]:
    """(name, address, SHA-256 if given) of every file that an index's page lists."""
    if "json" in page.headers.get("Content-Type", ""):
        for file in page.json()["files"]:
            yield file["filename"], urljoin(str(page.url), file["url"]), file["hashes"].get("sha256")
        return
    for link in _Links.of(page.text):
        address, fragment = urldefrag(urljoin(str(page.url), link))
        sha256 = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        yield unquote(address.rpartition("/")[2]), address, sha256[1] if sha256 else None


class _Links(HTMLParser):
    """The addresses of a page's links."""

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.found = []
        parser.feed(text)
        return parser.found

    found: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _pip_settings() -> dict[str, Any]:
    """Where pip looks and what it trusts: index-url and cert, from its environment variables and files."""
    own = {name: os.environ.get(f"PIP_{name.replace('-', '_').upper()}") for name in ("index-url", "cert")}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60)
    found = dict(re.findall(r"^(?:global|user|site|install)\.(index-url|cert)='(.*)'$", listed.stdout, re.MULTILINE))
    return {**found, **{name: value for name, value in own.items() if value}}


def _shown(address: str) -> str:
    """An address without the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", address)
