"""Mails as people sent them: what is read of one, and what is not."""

from pathlib import Path

import pytest

from components.artifacts import SourceFiles
from components.curation import mails
from components.curation.reading import files_of, texts

HEAD = b"Return-Path: <ann@example.org>\nReceived: from here by there\nTo: bob@example.org\nSubject: Lunch\n"
PAGE = "<html><body><nav>menu</nav><p>Buy <b>now</b>, it is cheap, and everybody wants one of these.</p></body></html>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\nAt noon?\n", "Lunch\n\nAt noon?"),
        (b"Content-Type: text/plain; charset=iso-8859-1\n\ncaf\xe9\n", "Lunch\n\ncafé"),
        (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQXQgbm9vbj8=\n", "Lunch\n\nAt noon?"),
        (b"Content-Type: text/plain; charset=no-such-thing\n\ncaf\xe9\n", "Lunch\n\ncafé"),
        (b"Content-Type: text/plain\n\n\xff\xfe\x00bad\n", "Lunch\n\n��bad"),
        (b"Content-Type: multipart/mixed; boundary=x\n\nno part follows\n", "Lunch"),
        (b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n", "Lunch"),
    ],
)
def test_subject_and_body_are_read(body: bytes, text: str) -> None:
    found = mails.text(HEAD + body)
    assert found.startswith(text)
    assert "example.org" not in found


def test_of_two_forms_the_plain_one_is_read() -> None:
    parts = ["Content-Type: text/html\n\n" + PAGE, "Content-Type: text/plain\n\nAt noon?"]
    body = "".join(f"--x\n{part}\n" for part in parts) + "--x--\n"
    raw = HEAD + b"Content-Type: multipart/alternative; boundary=x\n\n" + body.encode()
    assert mails.text(raw) == "Lunch\n\nAt noon?"


def test_of_a_page_the_text_is_read() -> None:
    found = mails.text(HEAD + b"Content-Type: text/html\n\n" + PAGE.encode())
    assert "Buy now, it is cheap" in found
    assert "<" not in found


def test_a_header_that_breaks_the_rules_is_no_end() -> None:
    assert "body" in mails.text(b"Received: x\nSubject: =?utf-8?b?!!!?=\nFrom: <<>>\n\nbody\n")


def test_files_are_told_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"From ann@example.org  Thu Aug 22\n" + HEAD + b"\n\xe9 \x01\n")
    (tmp_path / "b.txt").write_bytes(b"Dear diary: today I received nothing.\nMessage: none.\n")
    (tmp_path / "c.eml").write_bytes(HEAD + b"\nAt noon?\n")
    files, _ = files_of(SourceFiles("post", tmp_path, "CC0-1.0", "here", "0" * 64))
    assert [file.kind for file in files] == ["mail", "text", "mail"]
    assert texts(files[0])[0].startswith("Lunch"), "control characters and odd bytes are no reason to refuse a mail"
