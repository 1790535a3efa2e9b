from hypothesis import given, settings
from hypothesis import strategies as st

from components.curation.extraction import document_id, main_text, parts, without_frame
from flows.recipes import shipped_data

FRAMED = """The Project Gutenberg eBook of Emma

*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***
Emma Woodhouse, handsome, clever, and rich.
*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***
Section 1. General Terms of Use
"""


def test_the_frame_of_project_gutenberg_is_taken_away() -> None:
    assert without_frame(FRAMED).strip() == "Emma Woodhouse, handsome, clever, and rich."
    assert without_frame("No frame here.") == "No frame here."


def test_a_page_keeps_its_prose_and_loses_its_navigation() -> None:
    page = (shipped_data("abs-guide") / "securityissues.html").read_bytes().decode("cp1252")
    text = main_text(page)
    assert "Prev" in page
    assert "A brief warning about script security is indicated." in " ".join(text.split())
    assert not any(word in text for word in ("Prev", "Next", "Advanced Bash-Scripting Guide: An in-depth"))


def test_a_book_is_cut_at_its_chapters() -> None:
    emma = (shipped_data("tiny/austen") / "emma.txt").read_text()
    starts = [part.split("\n", 1)[0] for part in parts(emma, 1_000_000)]
    assert starts == ["EMMA", *(f"CHAPTER {n}" for n in ("II", "III", "IV", "V", "VI", "VII", "VIII"))]


def test_parts_of_a_chapter_are_of_about_equal_length() -> None:
    paragraphs = "\n\n".join("word " * 40 + "end." for _ in range(70))
    lengths = [len(part) for part in parts(paragraphs, 6000)]
    assert len(lengths) == -(-len(paragraphs) // 6000)
    assert max(lengths) - min(lengths) <= 2 * len("word " * 40 + "end.")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab \n", max_size=3000), st.integers(200, 600))
def test_no_part_is_too_long_and_no_word_is_lost(text: str, limit: int) -> None:
    found = list(parts(text, limit))
    assert all(0 < len(part) <= limit for part in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_an_id_follows_from_place_and_text() -> None:
    ids = {document_id("s", "p", 0, "x"), document_id("s", "p", 1, "x"), document_id("s", "p", 0, "y")}
    assert len(ids) == 3
    assert document_id("s", "p", 0, "x") in ids
