"""Turns a matplotlib drawing into SVG that belongs to a page: its colours, its font, its ids."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stand for CSS variables: matplotlib writes them, _to_page_colours replaces them.
INK, GRID, ENERGY, EMISSIONS = "#b10001", "#b10002", "#b10003", "#b10004"
TRAIN, VALIDATION = "#b10005", "#b10006"
COMPONENTS = {"gpu": "#a10001", "cpu": "#a10002", "ram": "#a10003"}
OTHER = "#a10004"
CSS = {
    INK: "--chart-ink", GRID: "--chart-grid", ENERGY: "--energy", EMISSIONS: "--emissions",
    TRAIN: "--train", VALIDATION: "--validation", OTHER: "--other",
    **{colour: f"--{name}" for name, colour in COMPONENTS.items()},
}  # fmt: skip

STYLE: dict[str, Any] = {
    "svg.hashsalt": "carbon-trainer", "svg.fonttype": "none", "text.parse_math": False,
    "font.size": 8, "font.family": ["DejaVu Sans"], "axes.unicode_minus": False,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": INK, "grid.color": GRID, "grid.linewidth": 0.6, "axes.grid": True,
    "axes.grid.axis": "y", "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.spines.left": False, "ytick.major.size": 0,
    "axes.titlelocation": "left", "axes.titlesize": 8, "axes.formatter.useoffset": False,
    "axes.formatter.limits": [-12, 15], "axes.xmargin": 0.01,
}  # fmt: skip


def draw_svg(
    key: str, title: str, desc: str, draw: Callable[[list[Axes]], None], *, panels: int
) -> str:  # fmt: skip
    """Draw panels one below the other; the same data gives the same text."""
    from matplotlib import style
    from matplotlib.figure import Figure

    height = 2.3 * panels
    # The defaults first: a user's own matplotlibrc must not change a report.
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(8, height))
        axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
        draw(axes)
        # Margins in inches, so that text keeps its room whatever the number of panels.
        edge = 0.38 / height
        figure.subplots_adjust(
            left=0.065, right=0.985, bottom=edge, top=1 - 0.24 / height, hspace=0.42
        )
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    return _for_page(out.getvalue(), key, title, desc)


def _for_page(svg: str, key: str, title: str, desc: str) -> str:
    """Make matplotlib's file a part of a page: own ids, page's colours and fonts, a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    # Ids of several drawings on one page must differ; those that nothing refers to are dropped.
    used = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r'((?:url\(|href=")#| id=")', rf"\g<1>{key}-", svg)
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)
    for colour, css in CSS.items():
        svg = svg.replace(colour, f"var({css})")
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    box = view_box[1] if view_box else "0 0 576 166"
    head = (
        f'<svg role="img" viewBox="{box}" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-desc">{escape(desc)}</desc>'
    )
    body = svg[svg.index(">") + 1 :].strip()
    return head + re.sub(r">\s+<", "><", body)
