"""The router's losses against transformers' own balance loss and the formula of the z-loss."""

import copy

import torch
from transformers import MixtralConfig, MixtralForCausalLM

from components.training.loader import Loader
from components.training.objectives.base import next_token_loss
from components.training.router import router_loss

BALANCE, Z_LOSS = 0.02, 0.001


def make_model():
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    # transformers adds up the choices over a token's two experts, so its loss is twice ours
    experts = {"num_local_experts": 4, "router_aux_loss_coef": BALANCE / 2, "router_z_loss_coef": Z_LOSS}
    return MixtralForCausalLM(MixtralConfig(vocab_size=512, intermediate_size=48, **shape, **experts))


def test_the_gradient_has_the_routers_losses_and_the_value_is_the_cross_entropy(samples):
    batch = Loader(samples, batch_size=4, seed=0).batch(0)
    reference = make_model().double()
    reference.set_experts_implementation("eager")  # grouped products have no float64
    labels = torch.nn.functional.pad(batch.labels, (1, 0), value=-100)
    inputs = torch.nn.functional.pad(batch.input_ids, (0, 1))
    mask = torch.nn.functional.pad(batch.attention_mask, (0, 1))
    found = reference(input_ids=inputs, labels=labels, attention_mask=mask, output_router_logits=True)
    router_logits = found.router_logits[0][mask.bool().flatten()]
    ((found.loss + Z_LOSS * router_logits.logsumexp(-1).square().mean()) * mask.sum()).backward()

    model = make_model()
    model.config.router_aux_loss_coef = BALANCE
    ours, _ = next_token_loss(model, batch)
    ours.loss_sum.backward()
    cross_entropy = found.loss - BALANCE / 2 * found.aux_loss
    assert abs(ours.loss_sum.item() / ours.num_targets / cross_entropy.item() - 1) < 1e-5
    gate = model.model.layers[0].mlp.gate.weight.grad
    expected = reference.model.layers[0].mlp.gate.weight.grad
    assert (gate - expected).norm() < 1e-4 * expected.norm()
    model.config.router_aux_loss_coef = model.config.router_z_loss_coef = 0.0
    model.zero_grad()
    next_token_loss(model, batch)[0].loss_sum.backward()
    assert (model.model.layers[0].mlp.gate.weight.grad - expected).norm() > 0.01 * expected.norm()


def test_padding_is_not_routed_and_balance_is_one():
    config = copy.deepcopy(make_model().config)
    config.router_aux_loss_coef, config.router_z_loss_coef = 1.0, 0.0
    even = torch.eye(4).repeat(8, 1) + torch.eye(4).roll(1, 1).repeat(8, 1) * 0.9
    padding = torch.tensor([[9.0, 8.0, 0.0, 0.0]]).repeat(16, 1)
    counted = torch.arange(48) < 32
    assert torch.isclose(router_loss(config, [torch.cat([even, padding])], counted), torch.tensor(1.0))
    assert router_loss(config, [torch.cat([even, padding])], torch.ones(48, dtype=torch.bool)) > 1.05
