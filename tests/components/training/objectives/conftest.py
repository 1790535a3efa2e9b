"""Every objective with a small upstream model and samples of its kind."""

import json
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from components.artifacts import Samples
from components.models import family
from components.recipe import TrainPhase
from components.training.loader import Loader
from components.training.objectives import objective
from components.training.objectives.base import Objective

SENTINELS = 8
PICTURE, PATCHES = 511, 4
"""The token that stands for a picture, and how many of it do."""


@pytest.fixture(autouse=True)
def one_thread():
    """These models are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Case:
    objective: Objective
    model: nn.Module
    reference: nn.Module | None
    loader: Loader

    def loss(self, batch):
        beside = (self.reference,) if self.reference else ()
        return self.objective.loss(self.model, batch, *beside)


def make_model(name):
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    match name:
        case "masked_lm":
            dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
            return BertForMaskedLM(BertConfig(vocab_size=521, **small, **dropout))
        case "span_corruption":
            special = {"pad_token_id": 1, "decoder_start_token_id": 1, "eos_token_id": 0, "dropout_rate": 0.0}
            config = T5Config(vocab_size=521, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, **special)
            return T5ForConditionalGeneration(config)
        case "contrastive":
            text = {**small, "vocab_size": 512, "max_position_embeddings": 16, "eos_token_id": 0, "pad_token_id": 1}
            config = CLIPConfig(
                text_config=text, vision_config={**small, "image_size": 8, "patch_size": 4}, projection_dim=12
            )
            return CLIPModel(config)
        case "autoencoding" | "rectified_flow":
            fields = family("sd3").fields("debug", max_position_embeddings=16, vocab_size=512, image_size=8)
            fields["pictures"] = {**fields["pictures"], "image_size": 8, "patch_size": 4}
            return family("sd3").construct({**fields, "eos_token_id": 0, "pad_token_id": 1})
        case "classification":
            return family("classifier").build("debug", vocab_size=512, context=16, pad_token_id=1, labels=list("abc"))
        case "extraction":
            return family("reader").build("bert-debug", vocab_size=512, context=16, pad_token_id=1)
        case "visual_sft":
            text = LlamaConfig(vocab_size=512, **small, num_key_value_heads=1)
            vision = CLIPVisionConfig(**small, image_size=8, patch_size=4)
            shape = {"image_token_index": PICTURE, "image_seq_length": PATCHES, "vision_feature_layer": -1}
            return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, **shape))
        case _:
            return LlamaForCausalLM(LlamaConfig(vocab_size=512, **small, num_key_value_heads=1))


@pytest.fixture(scope="session")
def special(tmp_path_factory, samples):
    """The samples of running text, whose tokenizer also has a mask token and sentinels."""
    folder = tmp_path_factory.mktemp("special") / "samples"
    shutil.copytree(samples.path, folder)
    file = folder / "processor" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    names = ["[MASK]", *(f"<extra_id_{number}>" for number in range(SENTINELS))]
    for number, name in enumerate(names, 512):
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": number, "content": name})
    file.write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "processor" / "tokenizer_config.json").read_text())
    (folder / "processor" / "tokenizer_config.json").write_text(json.dumps({**settings, "mask_token": "[MASK]"}))
    described = samples.json("samples.json")
    (folder / "samples.json").write_text(json.dumps({**described, "vocab_size": 521}))
    return Samples(folder)


def write_arrays(folder, kind, arrays, **described):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    number = len(next(iter(arrays.values())))
    column = [str(i) for i in range(number)]
    pq.write_table(pa.table({"id": column, "source": column, "licence": column}), folder / "documents.parquet")
    samples = {"kind": kind, "arrays": list(arrays), "num_documents": number, "files": {}, **described}
    (folder / "samples.json").write_text(json.dumps(samples))
    return Samples(folder)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """14 images of noise with captions of 3 to 9 tokens, each ended by token 0."""
    folder, chance = tmp_path_factory.mktemp("pairs") / "samples", np.random.default_rng(0)
    lengths = [3 + number % 7 for number in range(14)]
    captions = [[*chance.integers(4, 512, length - 1), 0] for length in lengths]
    pixels = chance.normal(size=(14, 3, 8, 8)).astype(np.float16)
    total = sum(lengths)
    described = {"dtype": "uint16", "num_tokens": total, "vocab_size": 512, "context": 16, "pad_token_id": 1}
    samples = write_arrays(folder, "pairs", {"pixel_values": pixels}, **described, eos_token_id=0)
    np.concatenate(captions).astype(np.uint16).tofile(folder / "tokens.bin")
    np.save(folder / "offsets.npy", np.cumsum([0, *lengths]))
    return samples


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """14 images of noise with a question of 3 tokens and an answer of 2 to 5, which is ended by token 0."""
    folder, chance = tmp_path_factory.mktemp("questions") / "samples", np.random.default_rng(0)
    answers = [[*chance.integers(4, PICTURE, 2 + number % 4), 0] for number in range(14)]
    chats = [[2, *[PICTURE] * PATCHES, *chance.integers(4, PICTURE, 3), 3, *answer] for answer in answers]
    mask = [[0] * (len(chat) - len(answer)) + [1] * len(answer) for chat, answer in zip(chats, answers, strict=True)]
    pixels = chance.normal(size=(14, 3, 8, 8)).astype(np.float16)
    described = {"dtype": "uint16", "num_tokens": sum(map(len, chats)), "vocab_size": 512, "context": 32}
    samples = write_arrays(folder, "questions", {"pixel_values": pixels}, **described, pad_token_id=1, eos_token_id=0)
    np.concatenate(chats).astype(np.uint16).tofile(folder / "tokens.bin")
    np.concatenate(mask).astype(np.uint8).tofile(folder / "mask.bin")
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, chats)]))
    return samples


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, pairs):
    """The captions of `pairs`, each with one of three labels."""
    folder = tmp_path_factory.mktemp("labelled") / "samples"
    shutil.copytree(pairs.path, folder)
    np.save(folder / "labels.npy", np.arange(14) % 3)
    described = {**pairs.json("samples.json"), "kind": "labelled", "arrays": ["labels"], "labels": list("abc")}
    (folder / "samples.json").write_text(json.dumps(described))
    return Samples(folder)


@pytest.fixture(scope="session")
def answers(tmp_path_factory, pairs):
    """The captions of `pairs` as questions and passages, in each of which an answer of one or two tokens is marked."""
    folder = tmp_path_factory.mktemp("answers") / "samples"
    shutil.copytree(pairs.path, folder)
    np.save(folder / "answers.npy", np.array([[n % 3, n % 3 + n % 2] for n in range(14)]))
    described = {**pairs.json("samples.json"), "kind": "answers", "arrays": ["answers"]}
    (folder / "samples.json").write_text(json.dumps(described))
    return Samples(folder)


@pytest.fixture
def case(samples, special, chats, preferences, pairs, questions, labelled, answers):
    """A function: the objective with its model and its samples, with fields of the phase changed."""
    by_kind: dict[str, Any] = {"tokens": samples, "chats": chats, "preferences": preferences}
    by_kind |= {"pairs": pairs, "questions": questions, "labelled": labelled, "answers": answers}

    def make(name, **fields):
        chosen = objective(name)
        given = special if name in ("masked_lm", "span_corruption") else by_kind[chosen.kind]
        phase = TrainPhase(name="p", objective=name, epochs=1, **fields)
        reference = make_model(name).requires_grad_(False) if chosen.needs_reference else None
        model = make_model(name)
        if reference:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.02)
        return Case(chosen.of(phase, given), model, reference, Loader.of(phase, given))

    return make
