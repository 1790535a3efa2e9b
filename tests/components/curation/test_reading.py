from pathlib import Path

import pytest

from components.artifacts import SourceFiles
from components.curation.reading import files_of, texts
from components.errors import SourceError


def source(path: Path) -> SourceFiles:
    return SourceFiles("letters", path, "CC0-1.0", "here", "0" * 64)


def read(folder: Path, name: str, content: bytes) -> list[str]:
    (folder / name).write_bytes(content)
    files, _ = files_of(source(folder / name))
    return list(texts(files[0]))


def test_files_are_sorted_and_others_counted(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.html", "a/b.htm", "c.jsonl", "picture.png", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files, ignored = files_of(source(tmp_path))
    assert [(file.path, file.kind) for file in files] == [
        ("a/b.htm", "page"),
        ("a/z.html", "page"),
        ("b.txt", "text"),
        ("c.jsonl", "lines"),
    ]
    assert ignored == 2


def test_pages_are_read_in_the_encoding_they_declare(tmp_path: Path) -> None:
    page = b'<html><head><meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"></head>caf\xe9 \x93</html>'
    assert "café “" in read(tmp_path, "latin.html", page)[0]
    assert "日本" in read(tmp_path, "sjis.html", '<meta charset="shift_jis">日本'.encode("shift_jis"))[0]


def test_line_ends_and_byte_order_mark_are_normalised(tmp_path: Path) -> None:
    assert read(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n") == ["one\ntwo\nthree\n"]


def test_json_lines_give_a_text_each(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jsonl", b'{"text": "one"}\n\n{"text": "two", "more": 1}\n') == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\x00bad", r"Source letters: a\.txt is binary, not text: control character 0x00 at byte 4\."),
        ("a.txt", b"\x1f\x8b\x08\x00zip", r"a\.txt is binary, not text: control character 0x1f at byte 0\."),
        ("a.txt", b"caf\xe9!", r"Source letters: a\.txt is not UTF-8 text: byte 0xe9 at 3\."),
        ("a.html", b"<p>caf\xe9!</p>", r"a\.html is not UTF-8 text: byte 0xe9 at 6\."),
        ("a.html", b'<meta charset="klingon">', r"a\.html declares the encoding 'klingon', which does not exist\."),
        ("a.jsonl", b'{"text": "one"}\n{"text": ', r"a\.jsonl line 2 is not JSON\."),
        ("a.jsonl", b'{"prompt": "one"}', r'a\.jsonl line 1 has no "text" that is a string\.'),
        (
            "a.pdf",
            b"%PDF",
            r"Source letters: no file to read, only \.pdf\. Known: \.txt, \.html, \.htm, \.jsonl, \.eml, \.json\.",
        ),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        read(tmp_path, name, content)
    assert "\n" not in str(refused.value)


def test_what_is_not_there_or_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No source at"):
        files_of(source(tmp_path / "nowhere"))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SourceError, match="is an empty folder"):
        files_of(source(folder))
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(SourceError, match=r"link\.txt is a link that leads out of the folder"):
        files_of(source(folder))
