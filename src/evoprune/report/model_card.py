"""The model card: `README.md` beside an artifact, for whoever gets the network without the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evoprune.report.summary import as_text, comparison_rows, markdown_table, notes
from evoprune.report.timing_rows import TIMING_HEADINGS, TIMING_TITLE, timing_notes, timing_rows
from evoprune.store.artifact import MODEL
from evoprune.store.atomic import read_json, write_atomically
from evoprune.store.comparison import Comparison, damage_told, read_comparison

CARD: Final = "README.md"
_USE: Final = """\
```python
import evoprune

model = evoprune.load("this folder")  # or evoprune.load("this folder", model=my_dense_model)
outputs = model(inputs)
```"""
_MOST_CLASSES: Final = 100


def write_model_card(artifact: Path, directory: Path | None = None) -> Path:
    """Write the card of an artifact.

    Args:
        artifact: Folder of the artifact.
        directory: Folder with the comparison; that of the artifact when None.

    Raises:
        UsageError: There is no comparison.
        StoreCorruptedError: A file is damaged.
    """
    card = read_json(artifact / MODEL)
    comparison = read_comparison(artifact if directory is None else directory)
    with damage_told(artifact / MODEL):
        text = "\n\n".join(_sections(card, comparison)) + "\n"
    path = artifact / CARD
    write_atomically(path, text.encode())
    return path


def _sections(card: Mapping[str, Any], comparison: Comparison) -> Iterator[str]:
    models = ("baseline", "pruned") if comparison.finetuned is None else ("pruned", "finetuned")
    title = f"{card.get('network', 'Network')}, pruned by evoprune {card.get('evoprune', '')}"
    yield f"# {as_text(title)}"
    yield "What the network came to on the test set, which was read once for it, beside the network that it was made of:"
    yield markdown_table([("", *models, "change"), *comparison_rows(comparison, models)])
    yield from map(as_text, notes(comparison))
    timed = timing_rows(comparison)
    if timed and comparison.timings is not None:
        yield "## Time"
        place = comparison.timings
        yield as_text(f"On {place.processor} ({place.device}), {place.threads} threads; {TIMING_TITLE}.")
        yield markdown_table([TIMING_HEADINGS, *(row for row, _ in timed)])
        yield from map(as_text, timing_notes(comparison))
    yield "## Input and output"
    yield "\n".join(f"- {line}" for line in _data(card))
    yield "## Use"
    yield _USE
    yield "`model.json` says what the files are, with the SHA-256 of each; nothing in them is executed."


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    for one in card.get("inputs", ()):
        yield as_text(f"input {one['name']}: {one['dtype']}, of the shape {one['shape']}, as the run's example inputs")
    scaling = card.get("preprocessing")
    if scaling is not None:
        yield as_text(
            f"images of 0 to 255 become (image / 255 - mean) / std, by channel: mean {scaling['mean']}, std {scaling['std']}"
        )
    names = card.get("class_names") or ()
    if names:
        more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
        yield as_text(f"classes, in the order of the outputs: {', '.join(map(str, names[:_MOST_CLASSES]))}{more}")
    yield as_text(f"licence of the data: {card.get('data_licence') or 'not stated'}")
