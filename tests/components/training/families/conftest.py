"""For every family: what its debug size is prepared for from, and a phase that it learns in."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawings import draw

from components.artifacts import Corpus, Export, Samples, SourceFiles
from components.curation.images import curate_images
from components.models import family
from components.passages import Answer, Asked, as_text
from components.preparation.answers import prepare_answers
from components.preparation.captions import prepare_captions
from components.preparation.labelled import prepare_labelled
from components.preparation.pairs import prepare_pairs
from components.preparation.prepare import prepare
from components.preparation.questions import prepare_questions
from components.recipe import PrepareConfig
from components.recipe.images import ImagesConfig, ImageSet
from components.training.export import export

QUIET = {"report": lambda row: None}


@pytest.fixture(scope="session")
def corpora(samples, tmp_path_factory):
    """By kind: the corpus of `samples`, whose first documents are held out as well as what is measured here is not
    quality, and one of drawings.
    """
    documents = tmp_path_factory.mktemp("documents")
    rows = pq.read_table(samples.path.parent / "train.parquet").to_pylist()
    for row in rows[1::2]:  # of a source that can be told
        row.update(source="shouted", text=f"Hear, hear! {row['text']}")
    for row in rows:
        row["text"] = as_text(row["text"], [Asked("How does it begin?", (Answer(0, row["text"].split()[0]),))])
    for split in ("train", "held_out"):
        pq.write_table(pa.Table.from_pylist(rows), documents / f"{split}.parquet")
    folder = tmp_path_factory.mktemp("drawings")
    sets = [ImageSet(source=style, style=style, caption="a {style} {label}") for style in ("filled", "outlined")]
    sources = [SourceFiles(s.source, draw(folder / s.source, s.source), "CC0-1.0", "drawn here", "") for s in sets]
    images = tmp_path_factory.mktemp("images")
    config = ImagesConfig(sets=tuple(sets), held_out=0.3, held_out_styles=0.3)
    curate_images(config, *sources, out=images, scratch=folder, **QUIET)
    return {"documents": Corpus(documents), "images": Corpus(images)}


READERS = {
    "tokens": prepare,
    "pairs": prepare_pairs,
    "captions": prepare_captions,
    "labelled": prepare_labelled,
    "answers": prepare_answers,
    "questions": prepare_questions,
}
PARTS = {"language": "llama", "eyes": "clip", "clip": "clip", "encoder": "modernbert"}
FREEZE = {"visual_sft": ("model.vision_tower",), "autoencoding": ("text_encoder", "image_encoder", "transformer")}
"""What a first phase of an objective leaves as it is."""
TOKENS = {"visual_sft": 25_000, "autoencoding": 8_000}


@pytest.fixture(scope="session")
def samples_for(tmp_path_factory, corpora):
    """A function: the corpus of a family as it reads it."""
    made = {}

    def samples(name):
        kind = family(name).processor, family(name).samples
        if kind not in made:
            folder = tmp_path_factory.mktemp("-".join(kind)) / "samples"
            folder.mkdir()
            config = PrepareConfig(vocab_size=512, context=64, processor=kind[0])
            parts = [fresh(PARTS[part], samples(PARTS[part]), tmp_path_factory) for part in family(name).parts]
            READERS[kind[1]](config, corpora[family(name).corpus], *parts, out=folder, scratch=folder, **QUIET)
            made[kind] = Samples(folder)
        return made[kind]

    return samples


def fresh(name, samples, tmp_path_factory):
    """An export of a model that has learnt nothing."""
    out = tmp_path_factory.mktemp(name)
    model = family(name).build("debug", **family(name).described(samples.json("samples.json")))
    export(model, samples, out)
    return Export(out)


@pytest.fixture
def config(configure):
    """A phase of the family's first objective."""

    def make(name, /, **fields):
        rate, tokens = {"documents": (1e-2, 25_000), "images": (1e-3, 9_000)}[family(name).corpus]
        chosen = {"objective": family(name).objectives[0], "tokens": tokens, "learning_rate": rate, **fields}
        if frozen := FREEZE.get(chosen["objective"]):
            chosen |= {"freeze": frozen, "tokens": TOKENS[chosen["objective"]]}
        return configure(**chosen).model_copy(update={"family": name})

    return make
