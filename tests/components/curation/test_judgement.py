import pytest

from components.curation import filters, language, privacy
from components.curation.quality import measure
from components.curation.splits import held_out
from components.errors import EmptyResult, UnknownName
from flows.recipes import shipped_data

PROSE = (
    "She was the youngest of the two daughters of a most affectionate and indulgent father. He had been a good man,\n"
    "and he was loved by all who lived in the village; but nobody could have thought him clever. They walked together\n"
    "to the church on Sunday, and talked of the weather, which had been very fine, and of the new carriage that was\n"
    "to come from town with her sister in the spring.\n"
)
BAD = {
    "length": "She was happy, and he was not.",
    "symbols": "if [ $x -gt 1 ]; then echo $x | sed s/a/b/ ; fi && [ $# = 0 ] || { ls \\ ; }\n" * 12,
    "repetition": "This is the line that comes again and again in the text of the page.\n" * 20,
    "boilerplate": "\n".join(f"Go to the page with the pictures of {word}" for word in PROSE.split()[:20]),
}


def refusal(rule: str, text: str) -> str | None:
    return filters.filters([rule])[rule](text, measure(text))


@pytest.mark.parametrize("rule", filters.known())
def test_every_rule_passes_prose_and_refuses_what_it_is_for(rule: str) -> None:
    assert refusal(rule, PROSE) is None
    reason = refusal(rule, BAD[rule])
    assert reason
    assert "\n" not in reason


@pytest.mark.parametrize("play", ["modern-spelling", "old-spelling"])
def test_plays_are_no_boilerplate(play: str) -> None:
    text = (shipped_data(f"tiny/shakespeare/{play}") / "macbeth.txt").read_text()
    assert filters.first_refusal(text, measure(text), filters.filters(filters.known())) is None


def test_an_unknown_rule_is_refused_with_the_known() -> None:
    with pytest.raises(
        UnknownName, match=r"Unknown filter 'charm'\. Known: boilerplate, length, repetition, symbols\."
    ):
        filters.filters(["charm"])


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (PROSE, "en"),
        ("Die Wahl der Distribution ist für den Administrator ein wichtiger Schritt.", "de"),
        ("Le choix de la distribution est une étape importante pour l'administrateur.", "fr"),
    ],
)
def test_languages_are_told_apart_with_a_probability(text: str, spoken: str) -> None:
    found, confidence = language.identify(text)
    assert found == spoken
    assert 0.8 <= confidence <= 1


@pytest.mark.parametrize(
    "number", ["555-0147", "(555) 014-2368", "202-555-0143", "202.555.0143", "+1 202 555 0143", "+44 (20) 7946 0958"]
)
def test_telephone_numbers_are_masked(number: str) -> None:
    assert privacy.masked(f"Call {number}, or come.", ["phone"]) == ("Call <PHONE>, or come.", {"phone": 1})


@pytest.mark.parametrize("address", ["a.b+c@mail.example.org", "charlotte_lucas@example.com", "x@example.co.uk"])
def test_addresses_are_masked(address: str) -> None:
    assert privacy.masked(f"Write to {address}.", ["email", "phone"])[0] == "Write to <EMAIL>."


@pytest.mark.parametrize(
    "text",
    [
        "In 1811-1812, on 12-03-1811 and 2022-09-22, 294 came, of 1,234,567.",
        "ACT 1, SCENE 2; pages 120-134; version 3.11.20; 192.168.10.120; 3.1415926535; 10-4.",
        "ISBN 978-0-306-40615-7 and the order 20220922-1234.",
        "On the 3rd of March at 9 o'clock @ the Crown, five @ a shilling.",
    ],
)
def test_ordinary_numbers_are_left_alone(text: str) -> None:
    assert privacy.masked(text, ["email", "phone"]) == (text, {"email": 0, "phone": 0})


def test_a_document_stays_on_its_side_when_others_come() -> None:
    few, many = [f"c{n}" for n in range(200)], [f"c{n}" for n in range(1000)]
    before = held_out(few, 0.1, 7)
    assert held_out(many, 0.1, 7)[:200] == before
    assert 60 <= sum(held_out(many, 0.1, 7)) <= 140
    assert held_out(many, 0.1, 8) != held_out(many, 0.1, 7)


@pytest.mark.parametrize("fraction", [1e-9, 0.899])
def test_each_side_has_a_cluster_and_no_cluster_is_on_both(fraction: float) -> None:
    clusters = ["a", "b", "a", "b", "b"]
    sides = held_out(clusters, fraction, 0)
    assert set(sides) == {True, False}
    assert len(set(zip(clusters, sides, strict=True))) == 2


def test_one_document_cannot_be_split() -> None:
    with pytest.raises(EmptyResult, match="One document is left"):
        held_out(["a"], 0.1, 0)
