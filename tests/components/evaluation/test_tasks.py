import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from components.artifacts import SourceFiles
from components.errors import SourceError, UnknownName
from components.evaluation.lm import Questions, TransformersLM
from components.evaluation.tasks import read_items, run_tasks
from components.preparation.processor import END, PAD, train_tokenizer
from components.recipe import Task

AGREEMENT = Path(__file__).parents[3] / "flows/recipes/data/agreement.jsonl"
GOOD = {"question": "The sisters", "choices": [" was", " were"], "answer": 1}


def source_at(path, name="agreement"):
    return SourceFiles(name, path, "CC0-1.0", "here", "0" * 64)


@pytest.fixture(scope="module")
def tokenizer():
    trained = train_tokenizer([json.loads(line)["question"] for line in AGREEMENT.open()], 400)
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token=END, pad_token=PAD)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.3,  # far from uniform, so that choices are told apart
        eos_token_id=0,
        pad_token_id=1,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def lm(model, tokenizer):
    return TransformersLM(model, tokenizer, lambda _: None)


@pytest.fixture
def run(model, tokenizer, tmp_path):
    def run_it(*tasks, items=None):
        seen = []
        items = items or (source_at(AGREEMENT),)
        scores = run_tasks(tasks, items, model, tokenizer, scratch=tmp_path, report=seen.append)
        return scores, seen

    return run_it


@pytest.fixture
def source(tmp_path):
    def write(*lines):
        path = tmp_path / "own.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return source_at(path, "own")

    return write


def reference(model, tokenizer, question, continuation):
    """The summed log-probability of one continuation and whether it is greedy, unpadded, one forward pass each."""
    start = len(tokenizer(question)["input_ids"])
    ids = torch.tensor([tokenizer(question + continuation)["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    total, greedy = 0.0, True
    for position in range(start, ids.shape[1]):
        row, token = logits[position - 1], ids[0, position]
        total += float(row[token] - row.logsumexp(0))
        greedy &= bool(row.argmax() == token)
    return total, greedy


def asked(kind, *arguments):
    return [Instance(request_type=kind, doc={}, arguments=pair, idx=i) for i, pair in enumerate(arguments)]


def prompts(task, items):
    """The (context, continuation) pairs that lm-eval makes of a task."""
    questions = Questions(task, items)
    questions.build_all_requests(limit=None, rank=0, world_size=1)
    return [instance.args for instance in questions.instances]


def test_accuracy_is_that_of_plain_transformers(run, model, tokenizer, lm):
    items = [json.loads(line) for line in AGREEMENT.open()]
    pairs = [(item["question"], choice) for item in items for choice in item["choices"]]
    expected = [reference(model, tokenizer, *pair) for pair in pairs]
    found = lm.loglikelihood(asked("loglikelihood", *pairs))
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], rtol=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]

    remaining = iter(score for score, _ in expected)
    right = [int(np.argmax([next(remaining) for _ in item["choices"]])) == item["answer"] for item in items]
    assert 0 < sum(right) < len(right)
    scores, seen = run(Task(name="agree", source="agreement"))
    assert scores == {
        "agree_accuracy": {
            "value": pytest.approx(np.mean(right)),
            "stderr": pytest.approx(np.std(right, ddof=1) / np.sqrt(len(right))),
            "unit": "fraction",
        }
    }
    assert seen[-1] == {"done": len(pairs), "total": len(pairs), "unit": "choices"}


def test_few_shot_puts_other_items_with_their_answers_first(run, source):
    items = [GOOD | {"question": f"Number {i} sisters"} for i in range(6)]
    task = Task(name="two", source="own", few_shot=2)
    for context, _ in prompts(task, items):
        *examples, asked_last = context.split("\n\n")
        assert len(examples) == len(set(examples)) == 2
        assert set(examples) < {f"{item['question']} were" for item in items}
        assert f"{asked_last} were" not in examples
    assert prompts(task, items) == prompts(task, items)
    assert run(task, items=(source(*items),)) == run(task, items=(source(*items),))


def test_a_single_question_has_no_standard_error(run, source):
    scores, _ = run(Task(name="one", source="own"), items=(source(GOOD),))
    assert scores["one_accuracy"]["stderr"] is None


def test_items_are_shown_as_they_are(lm):
    question = "{{ 1 / 0 }} <|end|> {% x %}"
    assert prompts(Task(name="odd", source="own"), [GOOD | {"question": question}]) == [
        (question, " was"),
        (question, " were"),
    ]
    assert lm.eot_token_id not in lm.tok_encode(question)


def test_a_context_that_is_too_long_is_cut_from_the_left(lm, model, tokenizer):
    question, choice = "The sisters and " * 40 + "the brothers", " were ill"
    ids = tokenizer(question + choice)["input_ids"]
    length = len(ids) - len(tokenizer(question)["input_ids"])
    assert len(ids) > 65
    with torch.no_grad():
        log_p = model(torch.tensor([ids[-65:-1]])).logits[0, -length:].log_softmax(-1)
    expected = log_p.gather(-1, torch.tensor(ids[-length:])[:, None]).sum().item()
    ((found, _),) = lm.loglikelihood(asked("loglikelihood", (question, choice)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_rolling_covers_every_token_once(lm, model, tokenizer):
    text = "The sisters and the brothers"
    ids = torch.tensor([[0, *tokenizer(text)["input_ids"]]])
    with torch.no_grad():
        log_p = model(ids[:, :-1]).logits[0].log_softmax(-1)
    expected = log_p.gather(-1, ids[0, 1:, None]).sum().item()
    assert lm.loglikelihood_rolling(asked("loglikelihood_rolling", (text,))) == [pytest.approx(expected, rel=1e-4)]


def test_generation_is_greedy_and_stops(lm, model, tokenizer):
    ids = tokenizer("The sisters", return_tensors="pt")["input_ids"]
    for _ in range(8):
        with torch.no_grad():
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    whole = tokenizer.decode(ids[0, len(tokenizer("The sisters")["input_ids"]) :], skip_special_tokens=True)
    settings = {"max_gen_toks": 8, "until": [whole[-2:]]}
    assert lm.generate_until(asked("generate_until", ("The sisters", settings))) == [whole.partition(whole[-2:])[0]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('"text"', "is a str"),
        ({"question": "q", "choices": [" a", " b"]}, 'has no "answer"'),
        (GOOD | {"answer": 2}, '"answer" = 2'),
        (GOOD | {"answer": -1}, '"answer" = -1'),
        (GOOD | {"answer": True}, '"answer" = true'),
        (GOOD | {"answer": "1"}, '"answer" = "1"'),
        (GOOD | {"choices": [" was"], "answer": 0}, '"choices" = [" was"]'),
        (GOOD | {"choices": " was"}, '"choices" = " was"'),
        (GOOD | {"choices": [" was", 2]}, '"choices" = [" was", 2]'),
        (GOOD | {"question": 3}, '"question" = 3'),
        (GOOD | {"question": " "}, '"question" = " "'),
        (GOOD | {"question": "\ud800"}, '"question" = "\\ud800"'),
    ],
)
def test_a_malformed_line_is_named(source, line, said):
    with pytest.raises(SourceError) as raised:
        read_items(source(GOOD, "", line, GOOD))
    assert "Source own: own.jsonl line 3 " in str(raised.value)
    assert said in str(raised.value)
    assert 'expected {"question": string' in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_is_read_by_its_json_lines(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "README.md").write_text("What this is")
    (tmp_path / "sub" / "b.jsonl").write_text(json.dumps(GOOD))
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD | {"answer": 0}) + "\n")
    assert [item["answer"] for item in read_items(source_at(tmp_path))] == [0, 1]
    (tmp_path / "sub" / "b.jsonl").write_text("[]")
    with pytest.raises(SourceError, match=r"sub/b\.jsonl line 1 is a list"):
        read_items(source_at(tmp_path))


def test_what_cannot_be_asked_is_refused(run, source):
    with pytest.raises(SourceError, match="has no items"):
        run(Task(name="empty", source="own"), items=(source(""),))
    with pytest.raises(UnknownName, match=r"'other'\. Known: agreement"):
        run(Task(name="t", source="other"))
    with pytest.raises(SourceError, match="1 items besides the question, task t wants 2"):
        run(Task(name="t", source="own", few_shot=2), items=(source(GOOD, GOOD, GOOD | {"answer": 0}),))
    with pytest.raises(SourceError, match="Choice 's' melts into the question"):
        run(Task(name="t", source="own"), items=(source(GOOD | {"question": "The sister", "choices": ["s", " x"]}),))
