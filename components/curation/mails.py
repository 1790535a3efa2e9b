"""Raw mails (RFC 5322) as text: the subject and the body, without the way they came and who they were for."""

import re
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import default

from components.curation import extraction

HEADERS = re.compile(rb"\A(?:From [^\n]*\n|>From [^\n]*\n)?[A-Za-z][A-Za-z-]*:[ \t]")
CAME = re.compile(rb"^(?:Received|Return-Path|Message-I[dD]|Delivered-To):", re.MULTILINE)


def is_mail(beginning: bytes) -> bool:
    """Whether a file that begins so is a mail: a header first, and among the headers one that only a mail has."""
    return bool(HEADERS.match(beginning) and CAME.search(beginning))


def text(raw: bytes) -> str:
    """Subject and body of a mail; of several forms of it the plain one, of a page its main text.

    Bytes that are not of the encoding that the mail declares become the replacement character, as mail programs do it.
    """
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    try:
        subject = str(message["subject"] or "")
    except (ValueError, IndexError, MessageError):  # a header that breaks the rules
        subject = ""
    return "\n\n".join(part for part in (subject.strip(), _body(message).strip()) if part)


def _body(message: EmailMessage) -> str:
    try:
        part = message.get_body(preferencelist=("plain", "html"))
    except (AttributeError, KeyError):  # what says that it has parts, and has none
        part = None
    part = part or message
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        found = content.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # an encoding that does not exist
        found = content.decode("latin-1")
    found = found.replace("\r\n", "\n").replace("\x00", "")
    return extraction.main_text(found) if part.get_content_subtype() == "html" else found
