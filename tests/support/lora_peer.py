"""TRL's SFTTrainer on our samples, as its users would start it.

`python lora_peer.py FOLDER STEPS PACKED` reads the phase in FOLDER, takes its chats in its order, and prints one JSON
line: the clock after each step (a list of seconds), the tokens that each step read, padding left out, and the losses.
"""

import json
import sys
import time
from pathlib import Path

import datasets
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from components.artifacts import Samples
from components.training.batch import IGNORED
from components.training.config import TrainConfig
from components.training.loader import Loader


def main(folder: Path, steps: int, packed: bool) -> dict:
    """Train and tell."""
    config = TrainConfig.model_validate_json((folder / "config.json").read_text())
    phase, adapter, samples = config.phase, config.phase.adapter, Samples(folder / "samples")
    assert adapter is not None
    clock: list[float] = []
    losses: list[float] = []
    tokens: list[int] = []

    class Counting(SFTTrainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            mask = inputs.get("attention_mask")
            tokens.append(int(mask.sum()) if mask is not None else inputs["input_ids"].numel())
            return super().training_step(model, inputs, num_items_in_batch)

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            clock.append(time.monotonic())

        def on_log(self, args, state, control, logs, **rest):
            losses.extend([logs["loss"]] if "loss" in logs else [])

    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=steps,
        per_device_train_batch_size=phase.batch_size,
        train_sampling_strategy="sequential",
        max_length=samples.json("samples.json")["context"],
        packing=packed,
        learning_rate=phase.learning_rate,
        weight_decay=phase.weight_decay,
        max_grad_norm=phase.clip_norm,
        gradient_checkpointing=False,  # ours does without it too; with it TRL would compute a third more
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    Counting(
        AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32),
        arguments,
        train_dataset=chats(config, samples),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        peft_config=LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[Clock()],
    ).train()
    return {"clock": clock, "tokens": tokens, "losses": losses}


def chats(config: TrainConfig, samples: Samples) -> datasets.Dataset:
    """Every chat once, in the order in which the phase takes them when it does not pack."""
    phase = config.phase.model_copy(update={"pack_chats": False})
    loader, rows = Loader.of(phase, samples), []
    for index in range(loader.num_samples):
        batch = loader.samples([index])
        ids, labels = batch.input_ids[0].tolist(), batch.labels[0].tolist()
        whole = (
            ids if labels[-1] == IGNORED else [*ids, labels[-1]]
        )  # a last token that is not learnt stands in no label
        mask = [0, *(int(label != IGNORED) for label in labels)][: len(whole)]
        rows.append({"input_ids": whole, "completion_mask": mask})
    return datasets.Dataset.from_list(rows)


if __name__ == "__main__":
    place, number, how = sys.argv[1:]
    print(json.dumps(main(Path(place), int(number), how == "packed")))
