"""The order of samples is a pure function, whatever the number of workers and restarts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.training.loader import IGNORED, Loader, total_steps
from components.training.order import sample_at, share


@given(st.integers(1, 300), st.integers(0, 2**31), st.integers(0, 50))
def test_every_epoch_has_every_sample_once(num_samples, seed, epoch):
    order = [sample_at(epoch * num_samples + i, num_samples=num_samples, seed=seed) for i in range(num_samples)]
    assert sorted(order) == list(range(num_samples))


def test_epochs_and_seeds_differ_and_mix():
    orders = {
        (seed, epoch): tuple(sample_at(epoch * 1000 + i, num_samples=1000, seed=seed) for i in range(1000))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    for order in orders.values():
        assert abs(np.corrcoef(order, range(1000))[0, 1]) < 0.1


@given(st.integers(1, 70), st.integers(1, 9))
def test_shares_are_the_batch_cut_in_equal_pieces(batch_size, world_size):
    shares = [share(batch_size, rank, world_size) for rank in range(world_size)]
    assert [i for part in shares for i in part] == list(range(batch_size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_workers_together_read_the_batch_of_one(samples, world_size):
    loader = Loader(samples, batch_size=8, seed=3)
    for step in (0, 5, 40):
        parts = [loader.batch(step, rank=rank, world_size=world_size) for rank in range(world_size)]
        whole = loader.batch(step)
        assert torch.equal(torch.cat([part.input_ids for part in parts]), whole.input_ids)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
        assert sum(part.num_tokens for part in parts) == whole.num_tokens == 8 * 64


def test_windows_are_pieces_of_the_stream_with_the_next_token_as_label(samples):
    tokens = np.fromfile(samples.path / "tokens.bin", dtype=np.uint16).astype(np.int64)
    loader = Loader(samples, batch_size=1, seed=0)
    starts = []
    for step in range(loader.num_samples):
        batch = loader.batch(step)
        start = 64 * sample_at(step, num_samples=loader.num_samples, seed=0)
        assert batch.input_ids[0].tolist() == tokens[start : start + 64].tolist()
        assert batch.labels[0].tolist() == tokens[start + 1 : start + 65].tolist()
        starts.append(start)
    assert sorted(starts) == list(range(0, len(tokens) - 64, 64))


def test_chats_are_padded_on_the_right_and_only_answers_are_labels(chats):
    described = chats.json("samples.json")
    offsets = np.load(chats.path / "offsets.npy")
    mask = np.fromfile(chats.path / "mask.bin", dtype=np.uint8)
    loader = Loader(chats, batch_size=13, seed=0)
    batch = loader.batch(0)
    assert batch.num_tokens == described["num_tokens"] - 13
    for row in range(13):
        number = sample_at(row, num_samples=13, seed=0)
        length = offsets[number + 1] - offsets[number] - 1
        assert (batch.input_ids[row, length:] == described["pad_token_id"]).all()
        assert int((batch.labels[row] != IGNORED).sum()) == mask[offsets[number] : offsets[number + 1]].sum()


def test_steps_spend_the_budget(configure, samples, chats):
    windows = (samples.json("samples.json")["num_tokens"] - 1) // 64
    assert total_steps(configure(tokens=1025, batch_size=8).phase, samples) == 3
    assert total_steps(configure(epochs=2, batch_size=8).phase, samples) == -(-2 * windows // 8)
    assert total_steps(configure(epochs=0.01, batch_size=8).phase, chats) == 1
