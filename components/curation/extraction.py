"""Files to documents: the main text of a page, a text without its publisher's frame, and parts of a readable length."""

import math
import re
from collections.abc import Iterator

from components.digests import digest

NAVIGATION = ["nav", "header", "footer", "[role=navigation]", ".navheader", ".navfooter", ".NAVHEADER", ".NAVFOOTER"]
"""Navigation of HTML5 and of both generations of the DocBook stylesheets."""

FRAME_START = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG.*$", re.MULTILINE)
FRAME_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg).*$", re.MULTILINE
)
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
HEADING = re.compile(
    r"[ \t]*(?:(?:CHAPTER|VOLUME|BOOK|ACT|SCENE)\b|Chapter \w+|Act(?:us)? \w+\.|Sc(?:o?e|a)na \w+\.?)[^\n]{0,60}$"
)
"""Where a book or a play starts a new part, in modern and in First Folio wording."""
SHORTEST = 200
"""Characters below which a title or a list of persons stays with what follows it."""


def main_text(html: str) -> str:
    """The main content of a page as plain text, without navigation, links and pictures' alternative texts.

    Resiliparse's rule-based extraction (Bevendorff et al., 2018, Elastic ChatNoir).
    """
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(html, main_content=True, alt_texts=False, list_bullets=False, skip_elements=NAVIGATION)


def without_frame(text: str) -> str:
    """`text` without the header, licence and footer that Project Gutenberg puts around a book."""
    start, end = FRAME_START.search(text), FRAME_END.search(text)
    return text[start.end() if start else 0 : end.start() if end else len(text)]


def parts(text: str, max_characters: int) -> Iterator[str]:
    """`text` cut at its headings, and what is still too long into parts of about equal length between paragraphs.

    No part is longer than `max_characters`: a longer paragraph is cut between lines, a longer line between words.
    """
    for section in _sections(text):
        if len(section) <= max_characters:
            yield section
        else:
            yield from _equal_parts(section, max_characters)


def document_id(source: str, path: str, ordinal: int, text: str) -> str:
    """A stable name: 16 hex digits of the digest of where a text stands and what it says."""
    return digest([source, path, ordinal, text])[:16]


def _sections(text: str) -> Iterator[str]:
    """The text from heading to heading; titles and headings that follow each other stay with what they announce."""
    section: list[str] = []
    for paragraph in PARAGRAPH.split(text.strip()):
        heading = HEADING.match(paragraph.split("\n", 1)[0]) is not None
        if heading and sum(map(len, section)) >= SHORTEST:
            yield "\n\n".join(section)
            section = []
        section.append(paragraph.rstrip())
    if any(section):
        yield "\n\n".join(section)


def _equal_parts(section: str, limit: int) -> Iterator[str]:
    """Paragraphs gathered so that the k-th cut is the one nearest to k equal shares of the section."""
    share = len(section) / math.ceil(len(section) / limit)
    part, end, cuts = "", 0, 1
    for piece in _pieces(section, limit):
        after = end + len(piece) + 2
        if part and (len(part) + 2 + len(piece) > limit or abs(after - cuts * share) > abs(end - cuts * share)):
            yield part
            part = ""
            cuts += 1
        part = f"{part}\n\n{piece}" if part else piece
        end = after
    yield part


def _pieces(section: str, limit: int) -> Iterator[str]:
    """The paragraphs of a section, each cut where it is longer than `limit`."""
    for paragraph in section.split("\n\n"):
        while len(paragraph) > limit:
            cut = max(paragraph.rfind("\n", 1, limit), paragraph.rfind(" ", 1, limit))
            cut = cut if cut > 0 else limit
            yield paragraph[:cut].rstrip()
            paragraph = paragraph[cut:].lstrip()
        yield paragraph
