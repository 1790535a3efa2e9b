import json
import math

import numpy as np
import pytest

from components.artifacts import Export, SourceFiles
from components.digests import folder_content
from components.errors import EmptyResult, HeadwaterError, StoreError
from components.evaluation.baselines import fit, likeliest_weight
from components.evaluation.evaluate import exact_arithmetic
from components.evaluation.scoring import ratio, windows
from components.evaluation.texts import continued_words, known_words
from components.recipe import EvaluateConfig, Task

CONTEXT = 64


def independent_nats(export, text):
    """Token by token in float64: each one from the window that scores it, run alone and without padding."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    tokenizer = Tokenizer.from_file(str(export.path / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    model = LlamaForCausalLM.from_pretrained(export.path, dtype=torch.float64).eval()
    read, total = [0, *ids], 0.0
    for i, target in enumerate(ids):
        # The first window scores CONTEXT tokens, each later one half as many after as much history.
        half = CONTEXT // 2
        begin = 0 if i < CONTEXT else (i - CONTEXT) // half * half + half
        with exact_arithmetic(1), torch.no_grad():
            logits = model(input_ids=torch.tensor([read[begin : i + 1]])).logits[0, -1]
        total -= float(torch.log_softmax(logits, -1)[target])
    return total, len(ids)


def scores_of(out):
    return json.loads((out / "report.json").read_text())["scores"]


def test_bits_per_byte_and_perplexity_are_those_of_an_independent_computation(run_evaluate, export, make_corpus, texts):
    corpus = make_corpus(export.path.parent / "two", texts[0], [texts[1][0], texts[1][1][:700]])
    out, facts, _ = run_evaluate(corpus=corpus)
    held_out = [texts[1][0], texts[1][1][:700]]
    nats, tokens = zip(*(independent_nats(export, text) for text in held_out), strict=True)
    num_bytes = [len(text.encode()) for text in held_out]
    assert tokens[0] < CONTEXT < 3 * CONTEXT < tokens[1], "one short document, one of several windows"
    scores = scores_of(out)
    bits = sum(nats) / math.log(2) / sum(num_bytes)
    assert scores["bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-6)
    assert scores["perplexity"]["value"] == pytest.approx(math.exp(sum(nats) / sum(tokens)), rel=1e-5)
    residuals = [n / math.log(2) - bits * b for n, b in zip(nats, num_bytes, strict=True)]
    error = math.sqrt(2 * sum(r * r for r in residuals)) / sum(num_bytes)
    assert scores["bits_per_byte"]["stderr"] == pytest.approx(error, rel=1e-4)
    assert facts["documents"] == 2


def test_the_same_inputs_give_the_same_bytes_and_every_held_out_byte_is_counted_once(run_evaluate, texts, tmp_path):
    questions = [{"question": "She", "choices": [" was", " were"], "answer": i % 2} for i in range(4)]
    file = tmp_path / "agreement.jsonl"
    file.write_text("\n".join(json.dumps(question) for question in questions))
    source = SourceFiles("agreement", file, "CC0-1.0", "written here", "0" * 64)
    config = EvaluateConfig(tasks=(Task(name="agreement", source="agreement"),))
    first, facts, reports = run_evaluate(config, source)
    second, _, _ = run_evaluate(config, source)
    assert folder_content(first, "evaluation") == folder_content(second, "evaluation")
    content = json.loads((first / "report.json").read_text())
    assert content["bytes"] == sum(len(text.encode()) for text in texts[1])
    assert content["documents"] == facts["documents"] == 4, "an empty document has nothing to score"
    done = [r["done"] for r in reports if r["unit"] == "held-out tokens"]
    assert done == sorted(done)
    assert done[-1] == content["tokens"] == reports[len(done) - 1]["total"]
    assert content["scores"]["agreement_accuracy"]["value"] == 0.5, "the same question, answered both ways"
    page = (first / "report.html").read_text()
    assert "byte_bigram_bits_per_byte" in page
    assert "agreement_accuracy" in page
    assert "<svg" in page


def test_the_limit_keeps_the_first_documents_and_one_document_has_no_standard_error(run_evaluate, texts):
    out, facts, _ = run_evaluate(EvaluateConfig(held_out_documents=1, prompts=("Emma",), temperature=0))
    content = json.loads((out / "report.json").read_text())
    assert facts["documents"] == 1
    assert content["bytes"] == len(texts[1][0].encode())
    assert content["scores"]["bits_per_byte"]["stderr"] is None
    assert [sample["prompt"] for sample in content["texts"]] == ["Emma"], "greedy samples are all the same"


def test_another_seed_gives_other_texts_and_the_same_likelihood(run_evaluate):
    reports = [json.loads((run_evaluate(EvaluateConfig(seed=s))[0] / "report.json").read_text()) for s in (0, 1)]
    assert reports[0]["texts"] != reports[1]["texts"]
    assert len({sample["text"] for sample in reports[0]["texts"]}) > 20
    assert reports[0]["scores"]["bits_per_byte"] == reports[1]["scores"]["bits_per_byte"]


def test_greedy_text_with_a_cache_is_what_whole_passes_give(run_evaluate, export):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = EvaluateConfig(prompts=("Emma Woodhouse",), temperature=0, sample_tokens=12)
    out, _, _ = run_evaluate(config)
    tokenizer = AutoTokenizer.from_pretrained(export.path)
    model = AutoModelForCausalLM.from_pretrained(export.path)
    ids = [0, *tokenizer.encode("Emma Woodhouse")]
    for _ in range(12):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    new = ids[-12:]
    expected = tokenizer.decode(new[: new.index(0)] if 0 in new else new)
    assert json.loads((out / "report.json").read_text())["texts"] == [{"prompt": "Emma Woodhouse", "text": expected}]


@pytest.mark.parametrize("context", [1, 2, 7, 64])
@pytest.mark.parametrize("num_tokens", [0, 1, 7, 8, 65, 200])
def test_windows_score_every_token_once_with_half_a_context_of_history(context, num_tokens):
    found = list(windows(0, num_tokens, context))
    assert [i for w in found for i in range(w.first, w.end)] == list(range(num_tokens))
    assert all(w.end - w.begin <= context for w in found)
    assert all(w.first - w.begin == context // 2 for w in found[1:])


def test_baselines_are_the_formula_computed_by_hand():
    model = fit([np.array([0, 1, 0, 1, 0, 2, 0, 1, 0, 1])], vocab_size=4)
    w1, w2 = model.unigram_weight, model.bigram_weight
    p1 = {0: w1 * 5 / 10 + (1 - w1) / 4, 1: w1 * 4 / 10 + (1 - w1) / 4, 3: (1 - w1) / 4}
    assert model.unigram(np.array([0, 1, 3])) == pytest.approx([p1[0], p1[1], p1[3]])
    # After 0 come 1, 1, 2, 1, 1; at the start comes 0; 3 was never seen, so what follows it is p1 alone.
    after = model.bigram(np.array([0, 0, 4, 3]), np.array([1, 3, 0, 1]))
    assert after == pytest.approx([w2 * 4 / 5 + (1 - w2) * p1[1], (1 - w2) * p1[3], w2 + (1 - w2) * p1[0], p1[1]])
    bits = model.bigram_bits([np.array([0, 1])])
    assert bits == pytest.approx([-math.log2(w2 + (1 - w2) * p1[0]) - math.log2(w2 * 4 / 5 + (1 - w2) * p1[1])])


def test_baselines_sum_to_one_after_every_context(texts):
    model = fit([np.frombuffer(t.encode(), np.uint8).astype(np.int64) for t in texts[0]], 256)
    symbols = np.arange(256)
    assert model.unigram(symbols).sum() == pytest.approx(1, abs=1e-12)
    sums = [model.bigram(np.full(256, context), symbols).sum() for context in range(257)]
    assert sums == pytest.approx(np.ones(257), abs=1e-12)
    assert model.bigram(np.full(256, 0), symbols).min() > 0, "nothing is impossible"


def test_the_weight_is_the_likeliest_one():
    rng = np.random.default_rng(0)
    upper, lower = rng.random(500), rng.random(500)
    grid = np.linspace(0.001, 0.999, 999)
    prior = np.log(grid) + np.log1p(-grid)
    likelihood = [np.log(w * upper + (1 - w) * lower).sum() + p for w, p in zip(grid, prior, strict=True)]
    assert likeliest_weight(upper, lower) == pytest.approx(grid[np.argmax(likelihood)], abs=1e-3)


def test_bigrams_do_better_than_unigrams_on_text_that_was_not_fitted(run_evaluate):
    scores = scores_of(run_evaluate()[0])
    assert scores["byte_bigram_bits_per_byte"]["value"] < scores["byte_unigram_bits_per_byte"]["value"] < 8
    assert scores["token_bigram_bits_per_byte"]["value"] < scores["bits_per_byte"]["value"], "the model is untrained"
    assert all(0 < score["stderr"] < score["value"] for name, score in scores.items() if name != "xz_bits_per_byte")


def test_the_standard_error_of_a_ratio_is_its_spread_over_repetitions():
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(100, 2000, size=(4000, 40)).astype(float)
    bits = bytes_ * rng.normal(2, 0.3, size=bytes_.shape)
    found = [ratio(a, b) for a, b in zip(bits, bytes_, strict=True)]
    spread = np.std([value for value, _ in found])
    assert np.mean([error for _, error in found]) == pytest.approx(spread, rel=0.05)


def test_words_are_counted_without_the_prompt_and_without_one_that_is_cut_off():
    assert continued_words("The", "re was a Lady's-maid, and th") == ["there", "was", "a", "lady's-maid", "and"]
    samples = [{"prompt": "It ", "text": "was xqz was "}, {"prompt": "It ", "text": "was."}]
    value, error = known_words(samples, {"was", "it"})
    assert value == pytest.approx(3 / 4)
    assert error == pytest.approx(math.sqrt(2 * (0.25**2 + 0.25**2)) / 4)
    assert known_words([{"prompt": "It", "text": " ?!"}], {"it"}) == (0.0, None)


def test_a_corpus_without_held_out_documents_is_refused(run_evaluate, make_corpus, tmp_path):
    with pytest.raises(EmptyResult, match="2 training and 0 held-out"):
        run_evaluate(corpus=make_corpus(tmp_path / "corpus", ["one", "two"], []))


def test_a_model_with_broken_weights_and_a_foreign_tokenizer_are_refused(run_evaluate, export, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    broken, foreign = tmp_path / "broken", tmp_path / "foreign"
    tokenizer, model = AutoTokenizer.from_pretrained(export.path), AutoModelForCausalLM.from_pretrained(export.path)
    tokenizer.save_pretrained(broken)
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(broken)
    with pytest.raises(HeadwaterError, match="held-out document 0 is not finite"):
        run_evaluate(export=Export(broken))
    tokenizer.add_tokens(["<one-more>"])
    tokenizer.save_pretrained(foreign)
    model.save_pretrained(foreign)
    with pytest.raises(StoreError, match="has 401 tokens and its model 400"):
        run_evaluate(export=Export(foreign))
