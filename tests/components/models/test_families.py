"""What every family must do: build its debug size, learn, count its parameters, refuse sizes it does not have."""

from types import SimpleNamespace

import pytest
import torch

from components.errors import UnknownName
from components.models import families, family


@pytest.fixture(params=families())
def model_family(request):
    return family(request.param)


def test_debug_size_learns_a_batch(model_family):
    if model_family.samples != "tokens":
        pytest.skip("learns from more than text: tests/components/training/families")
    torch.manual_seed(0)
    model = model_family.build("debug", vocab_size=64, context=32, eos_token_id=0, pad_token_id=1)
    ids = torch.randint(0, 64, (4, 32))
    batch = SimpleNamespace(input_ids=ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        found = model_family.outputs(model, batch)
        loss = torch.nn.functional.cross_entropy(found[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert (model.config.eos_token_id, model.config.pad_token_id) == (0, 1)
    assert model.config.max_position_embeddings == 32


def test_parameters_are_those_of_the_built_model(model_family):
    built = model_family.build("debug", vocab_size=300)
    assert model_family.parameters("debug", 300) == sum(p.numel() for p in built.parameters())


def test_unknown_size_names_the_known_ones(model_family):
    with pytest.raises(UnknownName, match=r"'gigantic'.*Known: .*debug"):
        model_family.build("gigantic")


def test_unknown_family_names_the_known_ones():
    with pytest.raises(UnknownName, match=r"'lama'.*Known: .*llama"):
        family("lama")
