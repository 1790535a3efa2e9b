"""What a step reports, in one line for a person."""

from typing import Any

SHOWN = {
    "loss": "loss {:.3f}",
    "bits_per_byte": "{:.3f} bits/byte",
    "tokens_per_second": "{:,.0f} tokens/s",
    "flops_utilisation": "{:.0%} of peak",
    "warm_up_seconds": "{:.0f} s to compile",
}
"""Figures of training that have a place in the line, with how each is written."""


def noted(row: dict[str, Any]) -> str:
    """A report with "done", "total" and whatever figures it has."""
    parts = [f"{row['done']:g}/{row['total']:g} {row.get('unit', '')}".strip()]
    return "  ".join(parts + [text.format(row[name]) for name, text in SHOWN.items() if name in row])
