"""What the transformer is told of texts: by one CLIP, which stands in both places of the pipeline, or by two."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from torch import Tensor


@torch.no_grad()
def conditions(readers: Sequence[Any], ids: "Tensor", width: int, unread: int) -> dict[str, "Tensor"]:
    """The inputs `encoder_hidden_states` (size, context + unread, width) and `pooled_projections` of the transformer.

    readers: two CLIPTextModelWithProjection of one tokenizer; ids: (size, time) int64, each row ended by their end token. As
    StableDiffusion3Pipeline does it: all tokens of the context, padding included, from the layer before the last, side by
    side, then `unread` tokens of zeros in the place of a third encoder's (Esser et al. 2024, section 4 and appendix D).
    """
    context = min(reader.config.max_position_embeddings for reader in readers)
    read = {id(reader): reader(_filled(ids, context, reader.config), output_hidden_states=True) for reader in readers}
    found = [read[id(reader)] for reader in readers]  # what stands in both places reads once
    tokens = torch.cat([each.hidden_states[-2] for each in found], dim=-1)
    return {
        "encoder_hidden_states": pad(tokens, (0, width - tokens.shape[-1], 0, unread)),
        "pooled_projections": torch.cat([each.text_embeds for each in found], dim=-1),
    }


def _filled(ids: "Tensor", context: int, text: Any) -> "Tensor":
    """`ids` up to the whole context, with the padding of this reader after the end of each text."""
    whole = pad(ids, (0, context - ids.shape[1]), value=text.pad_token_id)
    ends = (whole == text.eos_token_id).int().argmax(-1, keepdim=True)
    return whole.masked_fill(torch.arange(context, device=ids.device) > ends, text.pad_token_id)
