"""Rows of several texts are as each text alone; every kind of samples; samples that have changed."""

import shutil
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.artifacts import Samples
from components.errors import StoreError
from components.recipe import TrainPhase
from components.training.batch import IGNORED
from components.training.loader import Loader, check_content, total_steps
from components.training.model import fresh_model
from components.training.objectives import objective
from components.training.rows import best_fit


def texts(samples):
    tokens = np.fromfile(samples.path / "tokens.bin", dtype=np.uint16).astype(np.int64)
    return [tokens[start:end] for start, end in pairwise(np.load(samples.path / "offsets.npy"))]


@pytest.fixture(scope="module")
def isolated(samples):
    """A batch of windows with isolated documents, and the parts of each row that are one document's."""
    loader = Loader(samples, batch_size=16, seed=0, isolate_documents=True)
    batch = loader.batch(0)
    starts = [[*np.flatnonzero(row == 0), len(row)] for row in batch.position_ids]
    return loader, batch, [[slice(a, b) for a, b in pairwise(row)] for row in starts]


def test_isolated_documents_are_cut_where_documents_end(samples, isolated):
    _, batch, parts = isolated
    plain = Loader(samples, batch_size=16, seed=0).batch(0)
    assert torch.equal(batch.input_ids, plain.input_ids)
    assert torch.equal(batch.labels, plain.labels)
    assert plain.position_ids is None
    assert max(map(len, parts)) > 1
    for row, cuts in zip(range(16), parts, strict=True):
        for number, cut in enumerate(cuts):
            assert batch.position_ids[row, cut].tolist() == list(range(cut.stop - cut.start))
            ends = torch.nonzero(batch.input_ids[row, cut] == 0).flatten().tolist()
            last = number + 1 == len(cuts)
            assert ends in ([], [cut.stop - cut.start - 1]) if last else ends == [cut.stop - cut.start - 1]


def test_an_isolated_document_sees_itself_alone(configure, samples, isolated):
    _, batch, parts = isolated
    model = fresh_model(configure(), samples).eval()
    with torch.no_grad():
        found = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
        for row, cuts in enumerate(parts[:4]):
            for cut in cuts:
                alone = model(input_ids=batch.input_ids[row : row + 1, cut]).logits[0]
                assert torch.allclose(found[row, cut], alone, atol=1e-5)


def test_a_sample_leads_back_to_its_documents(samples):
    ids = pq.read_table(samples.path / "documents.parquet").column("id").to_pylist()
    loader, documents = Loader(samples, batch_size=1, seed=0), texts(samples)
    owner = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
    for index in (0, 7, 33):
        start = loader.number(index) * 64
        assert loader.documents(index) == [ids[n] for n in sorted(set(owner[start : start + 65]))]


def test_packed_chats_give_the_loss_and_gradient_of_padded_ones(configure, chats):
    found = {}
    for pack in (False, True):
        loader = Loader(chats, batch_size=13, seed=0, pack_chats=pack)
        batch = loader.samples(range(loader.num_samples))
        model = fresh_model(configure(), chats)
        loss = objective("sft").loss(model, batch)
        loss.loss_sum.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found[pack] = (loss, gradient, batch)
    (padded, gradient, rows), (packed, other, fewer) = found[False], found[True]
    assert len(fewer.input_ids) < len(rows.input_ids)
    assert packed.num_targets == padded.num_targets
    assert fewer.num_tokens == rows.num_tokens
    assert fewer.input_ids.shape[1] <= 64
    assert packed.loss_sum.item() == pytest.approx(padded.loss_sum.item(), rel=1e-5)
    assert torch.allclose(other, gradient, atol=1e-4 * float(gradient.abs().max()))


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(50, 80))
def test_best_fit_loses_nothing_and_is_within_its_bound(lengths, capacity):
    rows = best_fit(lengths, capacity)
    assert sorted(text for row in rows for text in row) == list(range(len(lengths)))
    assert all(sum(lengths[text] for text in row) <= capacity for row in rows)
    assert len(rows) <= 11 / 9 * -(-sum(lengths) // capacity) * 1.5 + 1  # 11/9 of the optimum, which may exceed the sum
    half = [sum(lengths[text] for text in row) <= capacity / 2 for row in rows]
    assert sum(half) <= 1  # two rows at most half full would have been one
    assert rows == best_fit(lengths, capacity)


def test_preferences_are_chosen_rows_then_rejected_ones(preferences):
    answers, loader = texts(preferences), Loader(preferences, batch_size=4, seed=0)
    assert loader.num_samples == 11
    batch = loader.batch(1)
    assert batch.size == 4
    assert batch.indices.tolist() == [4, 5, 6, 7]
    for row in range(8):
        text = answers[2 * loader.number(4 + row % 4) + row // 4]
        length = int(batch.lengths[row])
        assert batch.input_ids[row, :length].tolist() == text[:-1].tolist()
        begin = text.tolist().index(3)  # the assistant's token: what follows it is the answer
        assert batch.labels[row, begin:length].tolist() == text[begin + 1 :].tolist()
        assert (batch.labels[row, :begin] == IGNORED).all()
    assert batch.num_tokens == int(batch.lengths.sum())
    assert [name.rsplit("/")[-1] for name in loader.documents(0)] == ["chosen", "rejected"]


def test_steps_count_packed_rows(chats):
    rows = Loader(chats, batch_size=2, seed=0, pack_chats=True).num_samples
    phase = TrainPhase(name="p", objective="sft", epochs=3, batch_size=2, pack_chats=True)
    assert total_steps(phase, chats) == -(-3 * rows // 2)
    by_tokens = phase.model_copy(update={"epochs": None, "tokens": chats.json("samples.json")["num_tokens"] - 13})
    assert total_steps(by_tokens, chats) == -(-rows // 2)


@pytest.mark.parametrize("file", ["tokens.bin", "offsets.npy", "mask.bin"])
def test_changed_samples_are_refused(chats, tmp_path, file):
    shutil.copytree(chats.path, tmp_path / "changed")
    content = bytearray((chats.path / file).read_bytes())
    content[-3] ^= 1
    (tmp_path / "changed" / file).write_bytes(content)
    check_content(chats)
    with pytest.raises(StoreError, match=rf"changed/{file} has the digest .*were changed after they were made"):
        check_content(Samples(tmp_path / "changed"))
