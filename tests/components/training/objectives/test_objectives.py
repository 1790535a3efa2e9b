"""What holds for every objective, and losses and gradients against the upstream library's own or float64 formulas."""

import copy
import math
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from components.recipe import TrainPhase
from components.recipe.phase import PREDICTING_TOKENS
from components.training.draws import Draws
from components.training.group import Group
from components.training.objectives import objectives
from components.training.objectives.autoencoding import KL_WEIGHT
from components.training.objectives.contrastive import matching
from components.training.objectives.rectified_flow import drawn_of

ALONE = Group(0, 1)


def gradients(model):
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def grown(model):
    """A copy in float64 without gradients."""
    model = copy.deepcopy(model).double()
    model.zero_grad(set_to_none=True)
    return model


def assert_same(case, found, expected, reference_model, tolerance=2e-5):
    """The summed loss and its gradient, ours in fp32 against a float64 one."""
    assert found.loss_sum.item() == pytest.approx(expected.item(), rel=tolerance)
    case.model.zero_grad(set_to_none=True)
    found.loss_sum.backward()
    expected.backward()
    ours, theirs = gradients(case.model), gradients(reference_model)
    assert theirs.norm() > 1e-3
    assert (ours - theirs).norm() < tolerance * 10 * theirs.norm()


@pytest.mark.parametrize("name", objectives())
def test_every_objective_gives_the_metrics_it_names(case, name):
    this = case(name)
    found = this.loss(this.loader.batch(0))
    assert tuple(found.metric_sums) == this.objective.metrics
    assert found.loss_sum.requires_grad
    assert 0 < found.num_targets <= 16 * 64


@pytest.mark.parametrize(("batch_size", "sizes"), [(32, [8, 8, 8, 8]), (7, [3, 3, 1])])
@pytest.mark.parametrize("name", objectives())
def test_gradient_of_micro_batches_is_that_of_the_batch(case, name, batch_size, sizes):
    """Masks, noise and times do not depend on the division either, or the losses would differ."""
    this = case(name, batch_size=batch_size)
    (whole,) = this.objective.backward(this.model, [this.loader.batch(3)], ALONE, this.reference)
    expected = gradients(this.model)
    this.model.zero_grad(set_to_none=True)
    parts = this.loader.micro_batches(3, size=sizes[0])
    assert [part.size for part in parts] == sizes
    found = reduce(add, this.objective.backward(this.model, parts, ALONE, this.reference))
    assert found.num_targets == whole.num_targets
    assert found.loss_sum.item() == pytest.approx(whole.loss_sum.item(), rel=1e-5)
    assert {n: int(m) for n, m in found.metric_sums.items() if n == "accuracy"} == {
        n: int(m) for n, m in whole.metric_sums.items() if n == "accuracy"
    }
    assert (gradients(this.model) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("name", PREDICTING_TOKENS)
def test_z_loss_reaches_every_objective_that_predicts_tokens(case, name):
    """Its value stays; its gradient is beside that of the cross-entropy, in proportion to its weight."""
    found = []
    for weight in (0.0, 0.1, 0.2):
        this = case(name, z_loss=weight)
        this.model.zero_grad(set_to_none=True)
        loss = this.loss(this.loader.batch(0))
        loss.loss_sum.backward()
        found.append((loss.loss_sum.item(), gradients(this.model)))
    (value, plain), (once_value, once), (_, twice) = found
    assert once_value == value
    assert (once - plain).norm() > 0.01 * plain.norm()
    assert (2 * (once - plain) - (twice - plain)).norm() < 1e-4 * plain.norm()


def test_the_answer_about_a_picture_is_predicted_as_transformers_does(case):
    this = case("visual_sft", batch_size=5)
    batch, model = this.loader.batch(0), grown(this.model)
    whole = torch.cat(
        [batch.input_ids, torch.ones(5, 1, dtype=torch.long)], 1
    )  # labels of transformers are not shifted
    labels = torch.cat([torch.full((5, 1), -100), batch.labels], 1)
    pixels = batch.tensors["pixel_values"].double()
    expected = model(input_ids=whole, pixel_values=pixels, labels=labels).loss * (labels != -100).sum()
    assert_same(this, this.loss(batch), expected, model)


@pytest.mark.parametrize("name", ["causal_lm", "sft"])
def test_next_token_losses_are_those_of_transformers(case, name):
    this = case(name, batch_size=5)
    batch, model = this.loader.batch(0), grown(this.model)
    labels = torch.nn.functional.pad(batch.labels, (1, 0), value=-100)  # transformers shifts them itself
    inputs = torch.nn.functional.pad(batch.input_ids, (0, 1), value=0)
    found = this.loss(batch)
    assert_same(this, found, model(input_ids=inputs, labels=labels).loss * found.num_targets, model)


def test_masked_lm_loss_is_that_of_bert(case):
    this = case("masked_lm", batch_size=5, seed=3)
    batch, model = this.loader.batch(0), grown(this.model)
    masking = this.objective.loss.keywords["masking"]
    inputs, labels = (
        torch.from_numpy(np.stack(side))
        for side in zip(*(masking(r.numpy(), i) for r, i in zip(batch.input_ids, range(5), strict=True)), strict=True)
    )
    found = this.loss(batch)
    assert found.num_targets == 5 * round(0.15 * 64) - sum(
        round(0.15 * 64) - round(0.15 * int((row > 3).sum())) for row in batch.input_ids
    )
    assert_same(this, found, model(input_ids=inputs, labels=labels).loss * found.num_targets, model)


def test_span_corruption_loss_is_that_of_t5(case):
    this = case("span_corruption", batch_size=5, seed=3)
    batch, model = this.loader.batch(0), grown(this.model)
    corruption = this.objective.loss.keywords["corruption"]
    total, num_targets = torch.zeros((), dtype=torch.float64), 0
    for row, index in zip(batch.input_ids, range(5), strict=True):
        read, written = (torch.from_numpy(side)[None] for side in corruption(row.numpy(), index))
        total = total + model(input_ids=read, labels=written).loss * written.numel()
        num_targets += written.numel()
    found = this.loss(batch)
    assert found.num_targets == num_targets
    assert_same(this, found, total, model)


def test_dpo_is_the_formula_of_the_paper(case):
    """Equation 7 of Rafailov et al. in float64, over each answer alone and unpadded."""
    this = case("dpo", batch_size=6, beta=0.3)
    batch, policy, reference = this.loader.batch(0), grown(this.model), grown(this.reference)

    def logs(model, row):
        length = int(batch.lengths[row])
        found = model(input_ids=batch.input_ids[row : row + 1, :length]).logits[0].log_softmax(-1)
        answer = torch.nonzero(batch.labels[row, :length] != -100).flatten()
        return found[answer, batch.labels[row, answer]].sum()

    ratios = [logs(policy, row) - logs(reference, row) for row in range(12)]
    margins = torch.stack([0.3 * (ratios[n] - ratios[n + 6]) for n in range(6)])
    found = this.loss(batch)
    assert found.num_targets == 6
    assert found.metric_sums["margin"].item() == pytest.approx(margins.sum().item(), rel=1e-4)
    assert int(found.metric_sums["accuracy"]) == int((margins > 0).sum())
    assert_same(this, found, -torch.sigmoid(margins).log().sum(), policy, tolerance=1e-4)


def test_contrastive_is_the_formula_of_open_clip(case):
    this = case("contrastive", batch_size=9)
    batch, model = this.loader.batch(0), grown(this.model)
    images = model.get_image_features(batch.tensors["pixel_values"].double()).pooler_output
    texts = [  # each caption alone and unpadded
        model.get_text_features(batch.input_ids[row : row + 1, : batch.lengths[row]]).pooler_output for row in range(9)
    ]
    logits = model.logit_scale.exp() * normalize(images, dim=-1) @ normalize(torch.cat(texts), dim=-1).T
    partners = torch.arange(9)
    expected = (cross_entropy(logits, partners) + cross_entropy(logits.T, partners)) / 2
    found = this.loss(batch)
    assert found.num_targets == 9
    assert_same(this, found, expected * 9, model)


def test_contrastive_scale_is_kept_at_100(case):
    this = case("contrastive", batch_size=4)
    with torch.no_grad():
        this.model.logit_scale.fill_(6.0)
    list(this.objective.backward(this.model, [this.loader.batch(0)], ALONE))
    assert this.model.logit_scale.item() == pytest.approx(math.log(100))
    assert this.model.logit_scale.grad.item() != 0


def test_matching_of_partners_that_are_alike_is_log_of_one(case):
    same = torch.eye(4)
    found = matching(same, same, torch.tensor(math.log(100.0)))
    assert found.loss_sum.item() < 1e-6
    assert int(found.metric_sums["accuracy"]) == 4


def test_rectified_flow_is_the_target_of_the_paper(case):
    """Esser et al. 2024, section 3: || v(z_t, t) - (e - x) ||^2 with z_t = (1 - t) x + t e, in float64."""
    this = case("rectified_flow", batch_size=6, seed=5)
    batch, model = this.loader.batch(1), grown(this.model)
    noise, times = drawn_of(batch, 5, model.latent_shape)
    total = torch.zeros((), dtype=torch.float64)
    for n in range(6):
        with torch.no_grad():
            x = model.vae.encode(batch.tensors["pixel_values"][n : n + 1].double()).latent_dist.mean
            text = batch.input_ids[n, : batch.lengths[n]].tolist()
            read = model.text_encoder(torch.tensor([text + [1] * (16 - len(text))]), output_hidden_states=True)
        e, t = noise[n : n + 1], times[n : n + 1]
        velocity = model.transformer(
            hidden_states=x + t * (e - x),
            timestep=1000 * t,
            encoder_hidden_states=read.hidden_states[-2].repeat(1, 1, 2),
            pooled_projections=read.text_embeds.repeat(1, 2),
            return_dict=False,
        )[0]
        total = total + ((velocity - (e - x)) ** 2).mean()
    found = this.loss(batch)
    assert found.num_targets == 6
    assert_same(this, found, total, model)


def test_classification_is_that_of_transformers(case):
    """Each text alone and unpadded, in float64."""
    this = case("classification", batch_size=6)
    batch, model = this.loader.batch(1), grown(this.model)
    total = torch.zeros((), dtype=torch.float64)
    for row in range(6):
        ids = batch.input_ids[row : row + 1, : batch.lengths[row]]
        total = total + model(input_ids=ids, labels=batch.tensors["labels"][row : row + 1]).loss
    found = this.loss(batch)
    assert found.num_targets == 6
    assert_same(this, found, total, model)


def test_extraction_is_that_of_transformers(case):
    """Each question alone and unpadded, in float64; the metric is how often both ends are the likeliest."""
    this = case("extraction", batch_size=6)
    batch, model = this.loader.batch(1), grown(this.model)
    total, right = torch.zeros((), dtype=torch.float64), 0
    for row in range(6):
        ids = batch.input_ids[row : row + 1, : batch.lengths[row]]
        first, last = batch.tensors["answers"][row : row + 1].unbind(1)
        found = model(input_ids=ids, start_positions=first, end_positions=last)
        total = total + found.loss
        right += int(found.start_logits.argmax() == first and found.end_logits.argmax() == last)
    found = this.loss(batch)
    assert found.num_targets == 6
    assert int(found.metric_sums["accuracy"]) == right
    assert_same(this, found, total, model)


def test_autoencoding_is_the_formula_of_the_paper(case):
    """The divergence is that of diffusers; all in float64."""
    this = case("autoencoding", batch_size=6, seed=5)
    batch, model = this.loader.batch(1), grown(this.model)
    pixels = batch.tensors["pixel_values"].double()
    posterior = model.vae.encode(pixels).latent_dist
    noise = torch.stack(
        [torch.from_numpy(Draws("autoencoding", 5, i).normal(model.latent_shape)) for i in range(6, 12)]
    )
    errors = (model.vae.decode(posterior.mean + posterior.std * noise).sample - pixels).abs().mean((1, 2, 3))
    divergence = posterior.kl() / noise[0].numel()
    found = this.loss(batch)
    assert found.metric_sums["pixel_error"].item() == pytest.approx(errors.sum().item(), rel=1e-4)
    assert found.metric_sums["divergence"].item() == pytest.approx(divergence.sum().item(), rel=1e-4)
    assert_same(this, found, (errors + KL_WEIGHT * divergence).sum(), model, tolerance=1e-4)


def test_times_are_logit_normal_and_noise_is_normal(case):
    this = case("rectified_flow", batch_size=2000)
    noise, times = drawn_of(this.loader.batch(0), 0, (4, 6, 6))
    logits = torch.logit(times)
    assert abs(logits.mean()) < 0.07
    assert abs(logits.std() - 1) < 0.05
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs(float((noise[:-1] * noise[1:]).mean())) < 0.01
    assert abs((noise.abs() > 2).double().mean() - 0.0455) < 0.002


@pytest.mark.fetched
def test_dpo_is_that_of_trl(case, preferences, preference_lines, tmp_path):
    """TRL renders the chats with the chat template, finds the answers, pads, and computes loss and gradient itself."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    this = case("dpo", batch_size=11, beta=0.2)
    policy = copy.deepcopy(this.model)
    rows = [
        {
            "prompt": [{"role": "user", "content": line["prompt"]}],
            "chosen": [{"role": "assistant", "content": line["chosen"]}],
            "rejected": [{"role": "assistant", "content": line["rejected"]}],
        }
        for line in preference_lines
    ]
    trainer = DPOTrainer(
        policy,
        copy.deepcopy(this.reference),
        DPOConfig(output_dir=str(tmp_path), beta=0.2, per_device_train_batch_size=11, use_cpu=True, bf16=False),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(preferences.processor),
    )
    expected = trainer.compute_loss(policy, next(iter(trainer.get_train_dataloader())))
    found = this.loss(this.loader.batch(0))
    assert_same(this, found, expected * 11, policy, tolerance=1e-4)


def test_objectives_refuse_tokenizers_without_their_tokens(samples):
    from components.errors import TrainingError
    from components.training.objectives import objective

    phase = TrainPhase(name="p", epochs=1)
    with pytest.raises(TrainingError, match="masked_lm needs a tokenizer with a mask token"):
        objective("masked_lm").of(phase, samples)
    with pytest.raises(TrainingError, match="of 64 tokens hides 3 spans, and the tokenizer has 0 sentinels"):
        objective("span_corruption").of(phase, samples)
