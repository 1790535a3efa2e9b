"""Pictures with labels to chats about them, in the words of a decoder and the pixels of a vision tower."""

from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import Corpus, Export, Facts, Report
from components.errors import EmptyResult
from components.models.llava import OWN
from components.preparation.adopted import adopt_processor
from components.preparation.packing import Packing
from components.preparation.pairs import PIXELS, pixels
from components.preparation.speech import Speech, Turn
from components.questions import questions
from components.recipe import PrepareConfig

IMAGE = "<image>"
"""The token in whose place a picture is read."""
PARTS_TO_TEXT = (
    "{%- set turns = namespace(all=[]) -%}{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set turns.all = turns.all + [message] -%}{%- else -%}"
    "{%- set said = namespace(text='') -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{%- set said.text = said.text + '<image>' -%}"
    "{%- else -%}{%- set said.text = said.text + part['text'] -%}{%- endif -%}{%- endfor -%}"
    "{%- set turns.all = turns.all + [{'role': message['role'], 'content': said.text}] -%}"
    "{%- endif -%}{%- endfor -%}{%- set messages = turns.all -%}"
)
"""Put before a chat template of texts, so that it takes messages of texts and pictures."""


def prepare_questions(
    config: PrepareConfig, corpus: Corpus, language: Export, eyes: Export, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "questions": chats about a picture each, and fp16 (chats, 3, size, size) beside them.

    The processor is that of `language` with a token for pictures, and that of `eyes`. The mask is 1 on each answer. A
    chat longer than the context is left out and counted in the facts. Raises EmptyResult where none is left.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(corpus.documents("train")).to_pylist()
    folder = out / "processor"
    adopt_processor(language, folder, config.context)
    image_token = add_pictures(folder, eyes)
    places = num_places(eyes)
    speech = Speech(folder)
    labels = [row["text"] for row in rows]
    packing, chosen, num_too_long = Packing(out, kind="questions", vocab_size=speech.vocab_size), list[int](), 0
    for number, asked in enumerate(questions(labels, labels)):
        ids, mask = chat(speech, asked.text, asked.answer, image_token, places)
        if len(ids) > config.context:
            num_too_long += 1
            continue
        row = rows[asked.picture]
        packing.add(ids, mask, id=f"{row['id']}:{number}", source=row["source"], licence=row["licence"])
        chosen.append(asked.picture)
    if not chosen:
        raise EmptyResult(
            f"None of {num_too_long} questions fits into the context of {config.context} tokens: raise it."
        )
    seen = pixels([row["image"] for row in rows], folder, report)
    np.save(out / f"{PIXELS}.npy", seen[chosen])
    described = packing.close(
        context=config.context,
        eos_token_id=speech.end,
        pad_token_id=speech.pad,
        image_token_id=image_token,
        image_size=seen.shape[-1],
        arrays=[PIXELS],
        beside=[f"{PIXELS}.npy"],
    )
    counts = {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")}
    return {**counts, "num_too_long": num_too_long}


def chat(speech: Speech, question: str, answer: str, image_token: int, places: int) -> tuple[list[int], list[int]]:
    """Token ids and mask of a question about a picture, whose token stands there once for each of its places."""
    ids: list[int] = []
    mask: list[int] = []
    for token, counts in zip(*speech.chat([Turn("user", question, images=1), Turn("assistant", answer)]), strict=True):
        times = places if token == image_token else 1
        ids += [token] * times
        mask += [counts] * times
    return ids, mask


def add_pictures(folder: Path, eyes: Export) -> int:
    """Make the processor in `folder` read pictures as `eyes` does; returns the id of the token that stands for one."""
    import json
    from shutil import copyfile

    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(IMAGE, special=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text())
    settings["image_token"] = IMAGE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    template = folder / "chat_template.jinja"
    template.write_text(PARTS_TO_TEXT + template.read_text())
    copyfile(eyes.path / "preprocessor_config.json", folder / "preprocessor_config.json")
    (folder / "processor_config.json").write_text(json.dumps(_processor(eyes), indent=2, sort_keys=True) + "\n")
    found = tokenizer.token_to_id(IMAGE)
    assert found is not None
    return int(found)


def _processor(eyes: Export) -> dict[str, Any]:
    """What transformers' LlavaProcessor reads of itself: how many tokens a picture of `eyes` becomes."""
    return {
        "processor_class": "LlavaProcessor",
        "image_processor": eyes.json("preprocessor_config.json"),
        "image_token": IMAGE,
        "patch_size": eyes.json("config.json")["vision_config"]["patch_size"],
        "num_additional_image_tokens": OWN,
        "vision_feature_select_strategy": "full",
    }


def num_places(eyes: Export) -> int:
    """Tokens that a picture becomes: its patches, and the tower's own."""
    vision = eyes.json("config.json")["vision_config"]
    return int((vision["image_size"] // vision["patch_size"]) ** 2) + OWN
