"""Plots as SVG strings for a page: the same data gives the same bytes.

Ink is drawn in `currentColor`, so a plot follows the page from light to dark. Figures are made without pyplot: it
keeps them in a global list, and a stage keeps nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
BLUE, RED, GREEN, GREY = "#3b7dd8", "#d1603d", "#3a9d6e", "#8a94a0"
CYCLE = (BLUE, RED, GREEN, "#9467bd", "#c79a1e", GREY)
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headwater",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "legend.frameon": False,
}

P = ParamSpec("P")


def _styled(draw: Callable[P, str]) -> Callable[P, str]:
    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> str:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def waterfall(labels: Sequence[str], values: Sequence[float], ylabel: str, title: str) -> str:
    """Bars that fall (or rise) from a start to what is left.

    `values[0]` is the amount at the start and each later value a signed change, so a step that drops 12 documents
    is -12. A last bar, "left", is added with the sum of all.
    """
    changes = list(values[1:])
    levels = [values[0]]
    for change in changes:
        levels.append(levels[-1] + change)
    left = levels[-1]
    bottoms = [0.0, *(min(a, b) for a, b in pairwise(levels)), 0.0]
    heights = [values[0], *(abs(change) for change in changes), left]
    colours = [GREY, *(RED if change < 0 else GREEN for change in changes), BLUE]

    figure, axes = _empty(ylabel, title)
    names = [*labels, "left"]
    places = range(len(names))
    axes.bar(places, heights, bottom=bottoms, color=colours, width=0.62)
    for place, level in enumerate(levels):  # a thin line carries each level to the next bar
        axes.plot([place - 0.31, place + 1.31], [level, level], color=GREY, linewidth=0.8)
    texts = [f"{values[0]:,.5g}", *(f"{change:+,.5g}" for change in changes), f"{left:,.5g}"]
    for place, bottom, height, text in zip(places, bottoms, heights, texts, strict=True):
        axes.annotate(text, (place, bottom + height), (0, 2), textcoords="offset points", ha="center", fontsize=9)
    _name_bars(axes, names)
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    return _svg(figure)


@_styled
def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str, title: str) -> str:
    """One line per entry of `series`: name -> (x values, y values)."""
    figure, axes = _empty(ylabel, title)
    axes.set_xlabel(xlabel)
    for (name, (x, y)), colour in zip(series.items(), CYCLE * (1 + len(series) // len(CYCLE)), strict=False):
        axes.plot(x, y, label=name, color=colour, linewidth=1.6)
    if len(series) > 1:
        axes.legend()
    return _svg(figure)


@_styled
def points(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    title: str,
) -> str:
    """Points joined by thin lines for each of `series`, and dashed `curves`, over a logarithmic axis."""
    figure, axes = _empty(ylabel, title)
    axes.set_xlabel(xlabel)
    axes.set_xscale("log")
    colours = CYCLE * (1 + len(series) // len(CYCLE))
    for (name, (x, y)), colour in zip(series.items(), colours, strict=False):
        axes.plot(x, y, label=name, color=colour, linewidth=0.8, marker="o", markersize=5)
    for (name, (x, y)), style in zip(curves.items(), ("--", ":", "-.") * len(curves), strict=False):
        axes.plot(x, y, label=name, color=INK, linewidth=1.2, linestyle=style)
    axes.legend(fontsize=8)
    return _svg(figure)


@_styled
def bars(
    labels: Sequence[str], values: Sequence[float], errors: Sequence[float | None], ylabel: str, title: str
) -> str:
    """One bar per label, with whiskers of +-`errors` where there is one; the first bar stands out."""
    figure, axes = _empty(ylabel, title)
    colours = [BLUE, *[GREY] * (len(values) - 1)]
    axes.bar(range(len(values)), values, color=colours[: len(values)], width=0.62)
    for place, (value, error) in enumerate(zip(values, errors, strict=True)):
        if error is not None:
            axes.errorbar(place, value, yerr=error, color=INK, capsize=4, linewidth=1.2)
        axes.annotate(
            f"{value:.3g}", (place, value + (error or 0)), (0, 3), textcoords="offset points", ha="center", fontsize=9
        )
    _name_bars(axes, list(labels))
    axes.margins(y=0.12)
    axes.set_ylim(bottom=min(0.0, *values))
    return _svg(figure)


def _empty(ylabel: str, title: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color=GREY, alpha=0.3, linewidth=0.6)
    return figure, axes


def _name_bars(axes: "Axes", names: list[str]) -> None:
    crowded = sum(map(len, names)) > 45
    turned: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(names)), names, **turned)
    axes.tick_params(axis="x", length=0)


def _svg(figure: "Figure") -> str:
    text = StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    inline = text.getvalue().partition("<svg")[2]  # without the XML declaration and the DTD's address
    # Groups are named figure_1, axes_1 in every plot, and a page may hold several.
    inline = re.sub(r'<g id="[^"]*"', "<g", inline)
    return "<svg" + inline.replace(INK, "currentColor")
