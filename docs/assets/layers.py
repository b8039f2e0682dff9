"""Draws ``layers.svg`` from the import contract: ``python docs/assets/layers.py``.

The picture in ``docs/architecture.md`` is drawn from ``pyproject.toml``, so that it cannot say
anything else than what ``lint-imports`` holds the code to. A test compares the two.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("layers.svg")
PACKAGE = "carbon_trainer."

CAPTIONS = {
    "acceptance": "checks a GPU",
    "callbacks": "faces: how Lightning, transformers and other loops call control",
    "cli": "commands and their flags",
    "clock": "time",
    "config": "settings",
    "control": "what a run does next: budget, plan, power, pauses",
    "curation": "prepares text",
    "data": "tokens",
    "distributed": "ranks and machines: who meters what, deciding together",
    "durations": "spans of time",
    "energy": "what was used",
    "errors": "what goes wrong",
    "estimate": "before a run",
    "files": "whole or not at all",
    "grid": "how clean it was",
    "hardware": "this machine",
    "launch": "supervisor, Slurm",
    "lazy": "imports on demand",
    "ledger": "what is remembered",
    "live": "Prometheus",
    "models": "recipes, sharding",
    "planning": "when to run, at which power",
    "power": "how to throttle",
    "runs": "the record of one run",
    "training": "carbon-train fit",
    "units": "mJ, kWh",
}
"""What each part is about, in a few words."""

WIDTH, MARGIN, ROW, GAP = 840, 10, 46, 8
SIDE = 130
"""Width of the box of the reports, which are no layer: they read the ledger."""

FRAMEWORKS = {"lightning", "transformers"}


@dataclass(frozen=True)
class Contract:
    """What ``pyproject.toml`` says of imports.

    Attributes:
        layers: the parts of each layer, the top one first.
        no_torch: parts that know neither torch nor a framework.
        no_framework: parts that know no framework.
    """

    layers: list[list[str]]
    no_torch: set[str]
    no_framework: set[str]

    @classmethod
    def read(cls, path: Path) -> Contract:
        """Read it."""
        contracts = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["importlinter"]
        layers: list[list[str]] = []
        no_torch: set[str] = set()
        no_framework: set[str] = set()
        for contract in contracts["contracts"]:
            if contract["type"] == "layers" and "containers" not in contract:
                layers = [_parts(row.split("|")) for row in contract["layers"]]
            elif set(contract.get("forbidden_modules", ())) >= FRAMEWORKS:
                knows_no_torch = "torch" in contract["forbidden_modules"]
                known = no_torch if knows_no_torch else no_framework
                known.update(_parts(contract["source_modules"]))
        return cls(layers, no_torch, no_framework)


def _parts(modules: list[str]) -> list[str]:
    return [module.strip().removeprefix(PACKAGE) for module in modules]


def draw(contract: Contract) -> str:
    """Return the picture."""
    rows = contract.layers
    height = MARGIN * 2 + len(rows) * (ROW + GAP) + 26
    shapes = []
    for number, parts in enumerate(rows):
        top = MARGIN + number * (ROW + GAP)
        width = (WIDTH - SIDE - 4 * MARGIN - (len(parts) - 1) * GAP) / len(parts)
        # What the reports read stands beside them.
        for place, part in enumerate(sorted(parts, key=lambda part: part == "ledger")):
            left = MARGIN + place * (width + GAP)
            shapes += _box(left, top, width, part, CAPTIONS.get(part, ""), _kind(contract, part))
    shapes += _reports(rows) + _legend(MARGIN + len(rows) * (ROW + GAP) + 18)
    title = "Layers of carbon-trainer: each imports those below it, never one above"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{title}" font-family="system-ui, sans-serif">'
    )
    style = f"<style>{_STYLE}</style>"
    return "\n".join([head, f"<title>{title}</title>", style, *shapes, "</svg>\n"])


_STYLE = (
    "rect{stroke:#00776b;stroke-width:1}.torch{fill:#ffffff}.agnostic{fill:#dcefec}"
    ".pure{fill:#b4dcd6}.name,.caption{text-anchor:middle}.name{font-size:14px;font-weight:600;fill:#0b2b27}"
    ".caption{font-size:11px;fill:#23443f}.legend{font-size:12px;fill:#00897b}"
    "path{stroke:#00897b;fill:none;stroke-width:1.5}"
)


def _kind(contract: Contract, part: str) -> str:
    if part in contract.no_torch:
        return "pure"
    return "agnostic" if part in contract.no_framework else "torch"


def _box(left: float, top: float, width: float, name: str, caption: str, kind: str) -> list[str]:
    middle = f"{left + width / 2:.1f}"
    size = f'width="{width:.1f}" height="{ROW}"'
    return [
        f'<rect class="{kind}" x="{left:.1f}" y="{top}" {size} rx="4"/>',
        f'<text class="name" x="{middle}" y="{top + 20}">{name}</text>',
        f'<text class="caption" x="{middle}" y="{top + 36}">{escape(caption)}</text>',
    ]


def _reports(rows: list[list[str]]) -> list[str]:
    """Draw the reports beside the layers, with an arrow to the ledger, which they read."""
    (ledger,) = (number for number, parts in enumerate(rows) if "ledger" in parts)
    left, top = WIDTH - SIDE - MARGIN, MARGIN + ledger * (ROW + GAP)
    return [
        *_box(left, top, SIDE, "reports", "figures, exports", "pure"),
        f'<path d="M{left} {top + ROW / 2} h-{2 * MARGIN - 2} m4 -4 l-4 4 l4 4"/>',
    ]


def _legend(baseline: int) -> list[str]:
    kinds = [
        ("torch", "may import torch and a framework"),
        ("agnostic", "torch, no framework"),
        ("pure", "neither torch nor a framework"),
    ]
    shapes, left = [], MARGIN
    for kind, text in kinds:
        shapes += [
            f'<rect class="{kind}" x="{left}" y="{baseline - 12}" width="16" height="14" rx="2"/>',
            f'<text class="legend" x="{left + 22}" y="{baseline}">{text}</text>',
        ]
        left += 40 + 7 * len(text)
    return shapes


def picture(root: Path = ROOT) -> str:
    """Return the picture of a tree's import contract."""
    return draw(Contract.read(root / "pyproject.toml"))


def main() -> None:
    """Write it."""
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
