"""SQuAD's scores, and the answers by word counts that a reader is to be better than."""

import pytest

from components.evaluation.measures.extraction import exact, f1
from components.evaluation.word_answers import WordAnswers
from components.passages import Answer, Asked

PLACES = ("Hartfield", "Highbury", "London", "Randalls", "Bath", "Weymouth", "Longbourn", "Norland")
PEOPLE = ("Emma", "Frank", "Jane", "Harriet", "Anne", "Fanny", "Robert", "George")


@pytest.mark.parametrize(
    ("told", "right", "overlap", "same"),
    [
        ("The Denver Broncos!", "denver broncos", 1.0, 1.0),  # articles, case and punctuation count for nothing
        ("the Broncos of Denver", "Denver Broncos", 0.8, 0.0),  # 2 of 3 words told, 2 of 2 right: 2 * 2 / 5
        ("a cat cat", "cat", 2 / 3, 0.0),  # a word counts as often as it is there
        ("Carolina", "Denver", 0.0, 0.0),
        ("", "Denver", 0.0, 0.0),
    ],
)
def test_scores_are_those_of_squad(told, right, overlap, same):
    assert f1(told, right) == pytest.approx(overlap)
    assert exact(told, right) == same


def passage(person, place):
    text = f"The weather was cold all week. {person} went to {place} in the morning. Nobody else was seen there."
    return text, [Asked(f"Where did {person} go in the morning?", (Answer(text.index(place), place),))]


def test_word_counts_find_the_place_near_the_words_of_the_question():
    pairs = list(zip(PEOPLE, PLACES, strict=True))
    counts = WordAnswers([passage(*pair) for pair in pairs[:6]], seed=0)
    again = WordAnswers([passage(*pair) for pair in pairs[:6]], seed=0)
    for person, place in pairs[6:]:
        text, (asked,) = passage(person, place)
        assert counts.answer(asked.question, text)[0].text == place
        assert counts.answer(asked.question, text) == again.answer(asked.question, text)


def test_nothing_to_read_has_no_answer():
    counts = WordAnswers([passage("Emma", "Bath")], seed=0)
    assert counts.answer("Who?", "...") == (Answer(0, ""), 0)
