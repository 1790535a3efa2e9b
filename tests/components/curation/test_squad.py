"""SQuAD's JSON as documents, and other JSON left alone."""

import json

import pytest

from components.artifacts import SourceFiles
from components.curation.reading import files_of, texts
from components.errors import SourceError
from components.passages import Answer, Asked, of_text

ROW = {
    "context": "Emma lived at Hartfield.",
    "qas": [
        {
            "question": "Where did Emma live?",
            "answers": [{"text": "Hartfield", "answer_start": 14}, {"text": "at Hartfield", "answer_start": 11}] * 2,
        }
    ],
}


def read(tmp_path, content):
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(content))
    files, others = files_of(SourceFiles("asked", tmp_path, "CC0-1.0", "here", ""))
    return [text for found in files for text in texts(found)], others


def test_a_passage_is_a_document_with_each_right_answer_once(tmp_path):
    (tmp_path / "package.json").write_text('{"name": "asked", "data": 1}')
    (text,), others = read(tmp_path, {"version": "1.1", "data": [{"paragraphs": [ROW]}]})
    answers = (Answer(14, "Hartfield"), Answer(11, "at Hartfield"))
    assert of_text(text) == (ROW["context"], [Asked("Where did Emma live?", answers)])
    assert others == 1


@pytest.mark.parametrize(
    "row", [{"context": "x"}, {"context": 3, "qas": []}, {"context": "x", "qas": [{"question": "?"}]}]
)
def test_what_lacks_a_part_is_refused_with_what_is_expected(tmp_path, row):
    with pytest.raises(SourceError, match=r'asked\.json is no file of questions and answers: expected \{"data"'):
        read(tmp_path, {"data": [{"paragraphs": [row]}]})
