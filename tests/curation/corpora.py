"""Small corpora with something of everything that is left out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SENTENCES = (
    "The meter counts what the machines have used since this morning.",
    "A kettle boils while the train to the coast waits at the platform.",
    "Nobody in the village had seen the river this high in forty years.",
    "She wrote the numbers down twice, and both times the sum was the same.",
    "Old maps show a road here, but the forest has long since taken it back.",
    "The library closes at six, except on the evenings when the choir sings.",
)
GERMAN = (
    "Der Zug zur Küste wartet am Bahnsteig, während der Kessel langsam kocht und niemand es eilig "
    "hat, denn der Abend ist noch lang und das Wetter bleibt freundlich."
)


_WORDS = (
    "green harbour window morning letter quiet garden copper bridge winter answer yellow market "
    "mountain silver paper second river kitchen simple engine autumn little corner bright station "
    "evening wooden summer broken ladder northern table early painter gentle meadow heavy curtain "
    "sailor"
)
WORDS = _WORDS.split()


def prose(seed: int, sentences: int = 12) -> str:
    """Return English text that shares few runs of words with that of another seed."""
    draw = random.Random(seed)
    return " ".join(
        f"{draw.choice(SENTENCES)[:-1]}, and so the {' '.join(draw.choices(WORDS, k=4))} was there."
        for _ in range(sentences)
    )


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def mixed_corpus(folder: Path, documents: int = 40) -> Path:
    """Write documents of which two are copies, one is German, one is explicit, one personal."""
    rows = [{"id": f"d{n}", "text": prose(n), "licence": "MIT"} for n in range(documents)]
    rows += [
        {"id": "copy", "text": "  " + prose(0) + "\n", "licence": "MIT"},
        {"id": "near", "text": prose(1) + " More.", "licence": "MIT"},
        {"id": "german", "text": GERMAN, "licence": "MIT"},
        {"id": "explicit", "text": prose(501) + " A fnord.", "licence": "MIT"},
        {"id": "personal", "text": prose(502) + " Mail jane@example.com.", "licence": "MIT"},
        {"id": "closed", "text": prose(503), "licence": "LicenseRef-closed"},
        {"id": "unstated", "text": prose(504)},
        {"id": "forget", "text": prose(505), "licence": "MIT"},
    ]
    (folder / "words.txt").write_text("fnord\n")
    (folder / "remove.csv").write_text("kind,value\nid,forget\n")
    return write_rows(folder / "mixed.jsonl", rows)
