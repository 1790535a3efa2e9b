"""Passages with questions: the same in and out of a document, cut into windows as BERT reads pairs, the likeliest part marked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from components.models import family
from components.passages import Answer, Asked, as_text, mark, nearest, of_text, question_of, windows
from components.preparation.processors import processor

PASSAGE = (
    "Emma Woodhouse, handsome, clever, and rich, had lived nearly twenty-one years in the world. Her father was rich."
)
QUESTION = "How long had Emma lived?"
letters = st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader with random weights, and its tokenizer."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("reader") / "model"
    kind = processor("wordpiece")
    tokenizer = kind.train([PASSAGE, QUESTION] * 4, 320)
    kind.save(tokenizer, place, 64)
    family("reader").build("bert-debug", vocab_size=tokenizer.get_vocab_size(), context=64).save_pretrained(place)
    return place


@given(letters, letters, st.data())
def test_a_document_gives_back_what_it_was_made_of(passage, question, data):
    start = data.draw(st.integers(0, len(passage) - 1))
    answer = Answer(start, passage[start : data.draw(st.integers(start + 1, len(passage)))])
    asked = Asked(" ".join(question.split()) or "Who?", (answer,))
    assert of_text(as_text(passage, [asked, asked])) == (passage, [asked, asked])


def test_a_passage_of_several_lines_keeps_its_places():
    passage = "A carriage.\nIt stopped."
    text = as_text(passage, [Asked("What\nstopped?", (Answer(2, "carriage.\nIt"),))])
    assert of_text(text) == ("A carriage. It stopped.", [Asked("What stopped?", (Answer(2, "carriage. It"),))])


def test_an_answer_stands_nearest_to_where_it_is_said_to_and_one_that_is_gone_is_left_out():
    assert nearest(PASSAGE, "rich", 100) == Answer(PASSAGE.rindex("rich"), "rich")
    assert nearest(PASSAGE, "rich", 0) == Answer(PASSAGE.index("rich"), "rich")
    assert of_text(as_text(PASSAGE, [Asked("Who?", (Answer(0, "Jane"),))])) == (PASSAGE, [])


def test_a_prompt_without_a_question_gets_one():
    assert question_of(f"{PASSAGE}\n\nQuestion: Who?\nAnswer (at 0): Emma") == ("Who?", PASSAGE)
    assert question_of(PASSAGE) == ("What is this about?", PASSAGE)


def test_a_window_is_read_as_transformers_reads_a_pair(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (window,) = windows(tokenizer, QUESTION, PASSAGE, 500)
    assert window.ids == tokenizer(QUESTION, PASSAGE)["input_ids"]
    answer = Answer(PASSAGE.index("nearly"), "nearly twenty-one years")
    first, last = window.places(answer)
    assert tokenizer.decode(window.ids[first : last + 1]) == "nearly twenty - one years"


def test_windows_cover_a_long_passage_and_each_fits(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = list(windows(tokenizer, QUESTION, PASSAGE, 24))
    assert all(len(window.ids) <= 24 for window in found)
    assert {span for window in found for span in window.spans} == set(
        tokenizer(PASSAGE, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    )
    assert found[0].places(Answer(PASSAGE.rindex("rich"), "rich")) is None


def test_what_is_marked_is_the_likeliest_of_all_parts(folder):
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = mark(model, tokenizer, QUESTION, PASSAGE, 64)
    assert PASSAGE[found.answer.start :].startswith(found.answer.text) != ""
    (window,) = windows(tokenizer, QUESTION, PASSAGE, 64)
    logits = model(torch.tensor([window.ids]))
    starts, ends = (side[0].softmax(0) for side in (logits.start_logits, logits.end_logits))
    n, m = len(window.spans), window.first
    best = max(((starts[m + a] * ends[m + b]).item(), a, b) for a in range(n) for b in range(a, min(n, a + 30)))
    assert found.score == pytest.approx(best[0], rel=1e-5)
    assert found.answer.text == PASSAGE[window.spans[best[1]][0] : window.spans[best[2]][1]]
