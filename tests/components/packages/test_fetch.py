"""Packages made here, from an index of our own on loopback."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.errors import SourceError
from components.packages.fetch import fetch
from components.packages.names import package
from components.packages.unpack import unpack

WHEEL = "shelf-1.0-py3-none-any.whl"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index with the package shelf, as a wheel and as an sdist; `asked` are the paths that were fetched."""
    folder = tmp_path / "index"
    (folder / "shelf").mkdir(parents=True)
    with zipfile.ZipFile(folder / "shelf" / WHEEL, "w") as wheel:
        wheel.writestr("shelf/books/emma.txt", "Emma Woodhouse, handsome, clever, and rich")
        wheel.writestr("shelf-1.0.dist-info/METADATA", "Name: shelf\n")
    with tarfile.open(folder / "shelf" / "shelf-1.0.tar.gz", "w:gz") as sdist:
        add(sdist, "shelf-1.0/setup.py", b"raise SystemExit('a package was run')")
        add(sdist, "shelf-1.0/data/chats.jsonl", b"{}\n")
    links = (f'<a href="{file.name}#sha256={sha256(file)}">x</a>' for file in (folder / "shelf").iterdir())
    (folder / "shelf" / "index.html").write_text("".join(links))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def add(tar, name, content, **what):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in what.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(content))


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_wheel_and_an_sdist_are_fetched_once_by_many_and_unpacked(index, tmp_path):
    get = partial(fetch, cache=tmp_path / "cache", say=print)
    with ThreadPoolExecutor(4) as many:
        found = set(many.map(get, ["pypi:shelf==1.0!/shelf/books"] * 4))
    assert [(path / "emma.txt").read_text()[:4] for path in found] == ["Emma"]
    assert get("sdist:shelf==1.0!/data/chats.jsonl").read_text() == "{}\n"
    assert index.asked.count(f"/shelf/{WHEEL}") == 1
    (next(iter(found)) / "emma.txt").write_text("changed")  # noticed, and fetched again
    assert (get("pypi:shelf==1.0!/shelf") / "books" / "emma.txt").read_text().startswith("Emma W")


def test_what_is_not_the_pinned_package_is_refused_and_not_kept(index, tmp_path):
    get = partial(fetch, "pypi:shelf==1.0", tmp_path, say=print)
    with pytest.raises(SourceError, match=rf"pypi:shelf==1.0 has the SHA-256 {'[0-9a-f]' * 64}, the recipe wants 0000"):
        get(sha256="0" * 64)
    assert not [path for path in (tmp_path / "packages").iterdir() if path.is_dir()]
    right = sha256(tmp_path / "index" / "shelf" / WHEEL)
    get(sha256=right)
    with pytest.raises(SourceError, match="the recipe wants 0000"):
        get(sha256="0" * 64)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("pypi:shelf==2.0", "no wheel for this machine of that version. Versions with one: 1.0"),
        ("sdist:shelf==2.0", "no source distribution of that version. Versions with one: 1.0"),
        ("pypi:nothing==1.0", "has no package nothing"),
        ("pypi:shelf==1.0!/shelf/films", "holds no 'shelf/films'. There: books"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(index, tmp_path, path, says):
    with pytest.raises(SourceError, match=says) as raised:
        fetch(path, tmp_path, say=print)
    assert len(str(raised.value).splitlines()) == 1


def test_a_damaged_download_is_refused(index, tmp_path):
    wheel = tmp_path / "index" / "shelf" / WHEEL
    wheel.write_bytes(wheel.read_bytes()[:-7])
    with pytest.raises(SourceError, match="the index says"):
        fetch("pypi:shelf==1.0", tmp_path, say=print)


def test_without_network_and_without_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(
        SourceError, match=r"pypi:shelf==1.0 cannot be fetched from http://127.0.0.1:9/simple: .*refused"
    ):
        fetch("pypi:shelf==1.0", tmp_path, say=print)
    monkeypatch.setenv("PATH", "")
    for path, tool in (("npm:shelf@1.0.0", "npm"), ("debian:shelf", "apt-get")):
        with pytest.raises(SourceError, match=f"needs the program {tool}, which is not installed here"):
            fetch(path, tmp_path, say=print)


@pytest.mark.parametrize(
    "path", ["pypi:shelf", "pypi:-r==1", "npm:shelf", "debian:--option", "pypi:a==1!/../b", "npm:a@1!/"]
)
def test_names_of_no_package(path):
    with pytest.raises(SourceError, match=r"names no package|relative path inside"):
        package(path)


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        add(tar, name, b"x")
    for file in ("a.zip", "a.tgz"):
        with pytest.raises(SourceError, match="leads out of the folder"):
            unpack(tmp_path / file, tmp_path / "in")
    assert not list(tmp_path.rglob("out.txt"))


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as file:
        for _ in range(160):
            file.write(bytes(1 << 20))
    with pytest.raises(SourceError, match=r"bomb.zip unpacks to more than 200 times its size"):
        unpack(bomb, tmp_path / "in")
    assert (tmp_path / "in" / "zeros").stat().st_size < 130 << 20


def test_links_and_devices_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        add(tar, "whole.txt", b"text")
        add(tar, "same.txt", b"", type=tarfile.LNKTYPE, linkname="whole.txt")
        add(tar, "link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "pipe", b"", type=tarfile.FIFOTYPE)
    unpack(tmp_path / "a.tgz", tmp_path / "in")
    assert {path.name: path.read_text() for path in (tmp_path / "in").iterdir()} == {
        "whole.txt": "text",
        "same.txt": "text",
    }


@pytest.mark.parametrize("name", ["a.whl", "a.tgz", "a.deb"])
def test_files_that_are_no_package(tmp_path, name):
    if name == "a.deb" and shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    (tmp_path / name).write_bytes(os.urandom(500))
    with pytest.raises(SourceError, match="damaged or no package"):
        unpack(tmp_path / name, tmp_path / "in")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_debian_package(tmp_path):
    (tmp_path / "made" / "DEBIAN").mkdir(parents=True)
    (tmp_path / "made" / "DEBIAN" / "control").write_text(
        "Package: shelf\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: books\n"
    )
    (tmp_path / "made" / "DEBIAN" / "postinst").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "made" / "DEBIAN" / "postinst").chmod(0o755)
    (tmp_path / "made" / "usr" / "share").mkdir(parents=True)
    (tmp_path / "made" / "usr" / "share" / "emma.txt").write_text("Emma")
    subprocess.run(["dpkg-deb", "--build", "made", "shelf.deb"], cwd=tmp_path, check=True, capture_output=True)
    unpack(tmp_path / "shelf.deb", tmp_path / "in")
    assert [path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.*")] == [
        "usr/share/emma.txt"
    ]


@pytest.mark.fetched
@pytest.mark.parametrize(
    ("path", "sha256"),
    [
        ("pypi:py3langid==0.4.0!/py3langid", None),
        ("sdist:llamafactory==0.9.5!/data/alpaca_en_demo.json", "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f"),
        ("npm:emojibase-data@17.0.0!/en", None),
        ("debian:fortunes!/usr/share/games/fortunes", None),
    ],
)  # fmt: skip
def test_real_packages(tmp_path, path, sha256):
    assert fetch(path, tmp_path, sha256=sha256, say=print).exists()
