"""An export as one GGUF file, which llama.cpp and what is built on it read: weights in fp32, tokenizer, chat template.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names of tensors are those of the gguf package.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import InputError

if TYPE_CHECKING:
    from gguf import GGUFWriter

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "MixtralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
}
"""The class of an export -> llama.cpp's name for its architecture."""
NORMAL, CONTROL, UNUSED = 1, 3, 5
"""Types of tokens."""
EXPERT_PARTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}


def write_gguf(export: Path, to: Path, name: str) -> None:
    """Write the decoder in the folder `export` as the file `to`, which calls itself `name`.

    Raises InputError for an architecture, a form of RoPE or a tokenizer that llama.cpp would read as another.
    """
    from gguf import GGUFWriter

    config: dict[str, Any] = json.loads((export / "config.json").read_text())
    named = (config.get("architectures") or ["none"])[0]
    if named not in ARCHITECTURES:
        raise InputError(f"A {named} cannot be written as GGUF. Known: {', '.join(ARCHITECTURES)}.")
    tokenizer = json.loads((export / "tokenizer.json").read_text())
    kind = _splitting(tokenizer)
    writer = GGUFWriter(to, ARCHITECTURES[named])
    writer.add_name(name)
    _architecture(writer, config)
    _tokenizer(writer, export, tokenizer, kind, config)
    for tensor, values in _tensors(export, config, ARCHITECTURES[named]):
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _architecture(writer: "GGUFWriter", config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise InputError(f"RoPE of the type {rope['rope_type']!r} cannot be written as GGUF: only the default one can.")
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)  # fp32
    if experts := config.get("num_local_experts"):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])


def _splitting(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how text is cut before it becomes tokens. Raises InputError."""
    model, before = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    byte_level = steps[-1].get("use_regex", True) and not steps[-1].get("add_prefix_space")
    if model.get("type") == "BPE" and not tokenizer.get("normalizer") and byte_level:
        if kinds == ["ByteLevel"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
            return "smollm"
    raise InputError(
        "This tokenizer cannot be written as GGUF: only byte-level BPE, cut as GPT-2 or SmolLM2 do it, can."
    )


def _tokenizer(
    writer: "GGUFWriter", export: Path, tokenizer: dict[str, Any], kind: str, config: dict[str, Any]
) -> None:
    tokens = [f"[UNUSED{number}]" for number in range(config["vocab_size"])]
    types = [UNUSED] * len(tokens)
    for token, number in tokenizer["model"]["vocab"].items():
        tokens[number], types[number] = token, NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], CONTROL if added["special"] else NORMAL
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    settings = json.loads((export / "tokenizer_config.json").read_text())
    numbers = {token: number for number, token in enumerate(tokens)}
    for field, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        given = settings.get(f"{field}_token")
        content = given["content"] if isinstance(given, dict) else given
        if content in numbers:
            add(numbers[content])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if (export / "chat_template.jinja").is_file():
        writer.add_chat_template((export / "chat_template.jinja").read_text())


def _tensors(export: Path, config: dict[str, Any], architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and fp32 values of every tensor, as llama.cpp has them."""
    import gguf

    kinds = {word: kind for kind, word in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    turned = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads} if architecture == "llama" else {}
    experts: dict[str, dict[int, np.ndarray]] = {}
    for name, values in _weights(export):
        if ".experts." in name:
            layer, _, rest = name.removeprefix("model.layers.").partition(".")
            number, part = rest.split(".experts.")[1].split(".")[:2]
            experts.setdefault(f"blk.{layer}.{EXPERT_PARTS[part]}.weight", {})[int(number)] = values
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise InputError(f"The weight {name} has no place in GGUF.")
        rotated = turned.get(name.split(".")[-2])
        yield known, _interleaved(values, rotated) if rotated else values
    for known, of_each in experts.items():
        yield known, np.stack([of_each[number] for number in sorted(of_each)])


def _weights(export: Path) -> Iterator[tuple[str, np.ndarray]]:
    from safetensors import safe_open

    for file in sorted(export.glob("*.safetensors")):
        with safe_open(file, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118  # no mapping
                yield name, content.get_tensor(name).float().numpy()


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head with those that RoPE turns together side by side, where transformers has them in two halves."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
