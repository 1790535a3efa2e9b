"""What of contrastive learning is our own: how images are moved."""

from dataclasses import replace

import numpy as np
import torch

from components.training.batch import Batch
from components.training.objectives.contrastive import moved


def test_images_are_moved_by_seed_and_index_alone():
    pixels = torch.rand(4, 3, 8, 8)
    whole = Batch(
        input_ids=torch.zeros(4, 2, dtype=torch.int64),
        labels=torch.zeros(4, 2, dtype=torch.int64),
        num_tokens=8,
        indices=torch.arange(8, 12),
        lengths=torch.full((4,), 2),
        tensors={"pixel_values": pixels},
    )
    found = moved(whole, 2, seed=3).tensors["pixel_values"]
    padded = torch.from_numpy(np.pad(pixels.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge"))
    for image, given in zip(found, padded, strict=True):
        assert any(torch.equal(image, given[:, y : y + 8, x : x + 8]) for y in range(5) for x in range(5))
    half = replace(whole, indices=whole.indices[2:], tensors={"pixel_values": pixels[2:]})
    assert torch.equal(moved(half, 2, seed=3).tensors["pixel_values"], found[2:])
    again = replace(whole, indices=whole.indices + 4)
    assert not torch.equal(moved(again, 2, seed=3).tensors["pixel_values"], found)
    assert moved(whole, 0, seed=3) is whole
