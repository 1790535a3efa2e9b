"""Published figures of compute and cost, and where models fit."""

import pytest

from components.errors import InputError
from components.planning.accelerators import FILE, accelerators
from components.planning.architecture import architecture
from components.planning.memory import memory
from components.planning.placing import Work, placement

H100 = accelerators().accelerators["h100-sxm"]


def on_h100(work, based=False, **changed):
    table = accelerators().model_copy(update=changed)
    return placement("h100-sxm", table, work, based)


def test_llama_405b_takes_its_published_flops_and_hours():
    """3.8e25 FLOPs, 41% of the peak (The Llama 3 Herd of Models, table 4); 30.84M H100-hours (its model card)."""
    work = Work(architecture("llama", "405b"), 15.6e12, 8192, "bf16", checkpointing=True)
    assert work.weight_flops == pytest.approx(3.8e25, rel=0.03)
    found = on_h100(work, utilisation=0.41)
    assert found.device_hours == pytest.approx(30.84e6, rel=0.25)
    assert found.precision == "bf16"
    assert found.devices > 64
    assert not found.fits


def test_adapting_a_7b_costs_tens_and_pretraining_it_hundreds_of_thousands():
    """Llama 2 7B's size on its published 2T tokens; here Mistral's 7.2B."""
    shapes = architecture("mistral", "7b")
    adapted = Work(shapes, 5e6, 2048, "bf16", adapter_rank=16)
    for name in accelerators().accelerators:
        assert 0.01 < placement(name, accelerators(), adapted, True).money < 100
    assert on_h100(Work(shapes, 2e12, 4096, "bf16")).money > 100_000


def test_an_adapter_brings_a_7b_onto_one_device():
    shapes = architecture("mistral", "7b")
    full = on_h100(Work(shapes, 5e6, 2048, "bf16"), based=True)
    adapted = on_h100(Work(shapes, 5e6, 2048, "bf16", adapter_rank=16), based=True)
    assert not full.fits
    assert full.devices == 2
    assert "LoRA" in full.change
    assert adapted.fits
    assert adapted.change == ""
    assert adapted.memory.optimizer < full.memory.optimizer / 50
    assert adapted.device_hours == pytest.approx(full.device_hours * 2 / 3, rel=0.1)


def test_state_of_mixed_precision_is_eighteen_bytes_a_parameter():
    """fp32 weights, gradients and two moments (16), and a bf16 copy of the weights (Rajbhandari et al. 2020, section 3.1)."""
    shapes = architecture("llama", "8b")
    held = memory(shapes, 1, process=0, precision="bf16")
    assert held.weights + held.gradients + held.optimizer == 18 * shapes.parameters
    eight = memory(shapes, 1, process=0, precision="bf16", devices=8)
    assert eight.gradients + eight.optimizer == 12 * shapes.parameters // 8
    assert held.total == sum(held.model_dump(exclude={"total"}).values())


def test_what_does_not_fit_names_what_would():
    long = Work(architecture("llama", "8b"), 1e9, 131_072, "bf16")
    assert on_h100(long).change == "activation_checkpointing = true fits it on 16"
    longest = long._replace(context=4_194_304)
    assert "a context below" in on_h100(longest).change
    assert on_h100(longest).devices is None


def test_users_write_prices_over_the_shipped_ones(tmp_path):
    (tmp_path / FILE).write_text(
        "[accelerators.h100-sxm]\nprice_per_hour = 1.5\n\n[accelerators.own]\nmemory_bytes = 1\nwatts = 1\n"
        'price_per_hour = 0\nsource = "ours"\npeak = { fp32 = 1e12 }\n'
    )
    table = accelerators(tmp_path)
    assert table.accelerators["h100-sxm"].price_per_hour == 1.5
    assert table.accelerators["h100-sxm"].peak == H100.peak
    assert table.accelerators["own"].precision("bf16") == "fp32"
    assert table.accelerators.keys() > accelerators().accelerators.keys()


@pytest.mark.parametrize(
    ("text", "said"), [("watts = ", "not valid TOML"), ("utilisation = 2.0", "utilisation"), ("prices = 1", "prices")]
)
def test_a_wrong_table_is_named(tmp_path, text, said):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=said):
        accelerators(tmp_path)
