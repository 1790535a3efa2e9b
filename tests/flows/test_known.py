"""What a plan knows of a recipe's sources before they are read."""

import json

import pytest
from small_models import TEXTS, save_small_model
from transformers import AutoTokenizer

from components.recipe.file import validated
from flows.known import source_data


def test_chats_are_counted_with_what_the_base_s_template_says_by_itself(tmp_path):
    base, file = save_small_model(tmp_path / "base"), tmp_path / "talk.jsonl"
    rows = [{"prompt": TEXTS[0][:cut], "completion": TEXTS[0][cut:]} for cut in range(8, 80)]
    file.write_text("\n".join(map(json.dumps, rows)))
    kept = {"licence": "CC0-1.0", "origin": "written here"}
    chats = {"name": "talk", "path": str(file), "role": "instructions", **kept}
    phase = {"name": "tune", "objective": "sft", "init": "source:base", "data": "source:talk", "epochs": 1}
    content = {
        "name": "known",
        "sources": [
            {"name": "base", "path": str(base), "role": "base", **kept},
            {"name": "words", "path": "shipped:austen", **kept},
            chats,
        ],
        "prepare": {"context": 128},
        "train": [{**phase, "batch_size": 8, "learning_rate": 1e-3}],
        "gate": {"rules": [{"metric": "bits_per_byte", "max": 9.0}]},
    }
    recipe, tokenizer = validated(content, "here"), AutoTokenizer.from_pretrained(base)
    turns = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
        for row in rows
    ]
    found = sum(len(tokenizer.apply_chat_template(turn, tokenize=True)["input_ids"]) for turn in turns)
    corpus = {"num_bytes": len(TEXTS[0].encode()), "num_tokens": len(tokenizer(TEXTS[0])["input_ids"])}
    corpus |= {"num_documents": 1, "vocab_size": 352}
    data = source_data(recipe, {"base": base, "words": tmp_path / "base", "talk": file}, corpus)
    assert sum(data.chat_tokens(recipe.train[0], recipe)) == pytest.approx(found, rel=0.1)
    assert data._replace(chat_marks=4).chat_tokens(recipe.train[0], recipe) != data.chat_tokens(recipe.train[0], recipe)
