"""Published sizes to the digit: figures computed from the published configurations, independently of Headwater."""

import pytest

from components.models import family
from components.models.base import active_parameters

PUBLISHED = {
    ("llama", "1b"): 1_235_814_400,
    ("llama", "8b"): 8_030_261_248,
    ("llama", "70b"): 70_553_706_496,
    ("llama", "405b"): 405_853_388_800,
    ("mistral", "7b"): 7_248_023_552,
    ("mistral", "123b"): 122_610_069_504,
    ("qwen", "0.5b"): 494_032_768,
    ("qwen", "1.5b"): 1_543_714_304,
    ("qwen", "3b"): 3_085_938_688,
    ("qwen", "7b"): 7_615_616_512,
    ("qwen", "14b"): 14_770_033_664,
    ("qwen", "32b"): 32_763_876_352,
    ("qwen", "72b"): 72_706_203_648,
    ("clip", "vit-b-32"): 151_277_313,
    ("clip", "vit-l-14"): 427_616_513,
    ("llava", "7b"): 7_062_902_784,
    ("llava", "13b"): 13_350_839_296,
    ("t5", "small"): 60_506_624,
    ("t5", "base"): 222_903_552,
    ("t5", "large"): 737_668_096,
}
WITH_EXPERTS = {
    ("mixtral", "8x7b"): (46_702_792_704, 12_879_925_248),
    ("mixtral", "8x22b"): (140_620_634_112, 39_152_031_744),
}


@pytest.mark.parametrize(("name", "size"), PUBLISHED)
def test_published_sizes_have_their_published_parameters(name, size):
    model = family(name).on_meta(size)
    assert sum(p.numel() for p in model.parameters()) == active_parameters(model) == PUBLISHED[name, size]


@pytest.mark.parametrize(("name", "size"), WITH_EXPERTS)
def test_of_experts_only_those_that_work_on_a_token_are_active(name, size):
    """46.7B published for Mixtral 8x7B, 8x22B to the digit; the active ones computed from the configurations."""
    model = family(name).on_meta(size)
    assert (sum(p.numel() for p in model.parameters()), active_parameters(model)) == WITH_EXPERTS[name, size]


@pytest.mark.parametrize(("size", "millions"), [("base", 149), ("large", 395)])
def test_modernbert_has_the_millions_of_its_model_cards(size, millions):
    assert family("modernbert").parameters(size) // 10**6 == millions


@pytest.mark.parametrize(("size", "parameters"), [("2b", 2_028_328_000), ("8b", 8_056_617_792)])
def test_the_transformer_of_sd3_is_the_published_one(size, parameters):
    """Its towers and its autoencoder come on top."""
    assert sum(p.numel() for p in family("sd3").on_meta(size).transformer.parameters()) == parameters


ENCODERS = {"base": (109_482_240, 109_514_298), "large": (335_141_888, 335_174_458)}


@pytest.mark.parametrize("size", ENCODERS)
def test_bert_is_the_published_encoder_with_its_head_for_hidden_words(size):
    """Published: encoder and pooler; what is trained has no pooler, and a head of a matrix, a norm and a bias."""
    import torch
    from transformers import BertModel

    model = family("bert").on_meta(size)
    with torch.device("meta"):
        encoder = BertModel(model.config)
    assert (sum(p.numel() for p in encoder.parameters()), family("bert").parameters(size)) == ENCODERS[size]
