"""What would let frozen layers be pruned, by the reasons that an analysis gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_REMEDIES: Final = (
    (
        "reaches the model's output",
        "outputs=NAME (--outputs) says what you use of several outputs; a single one keeps its shape",
    ),
    ("is excluded by", "leave it out of exclude"),
    (
        "weight is computed",
        "fold=True, or evoprune.fold(model), makes computed weights plain; one output alone stays",
    ),
    ("belongs to a TorchScript module", "analyse and prune the model before it is scripted"),
    ("is not run by the example inputs", "give example inputs that run the part, or remove it"),
    ("which is not run", "give example inputs that run the part, or remove it"),
    ("is split into parts of unequal size", "write chunk, or keep the sizes in an attribute of the module that splits"),
    ("at fixed positions", "take the positions from x.shape, or keep them in an attribute of the module"),
    ("by fixed positions", "take the positions from x.shape, or keep them in an attribute of the module"),
    ("at a fixed position", "take the position from x.shape, or keep it in an attribute of the module"),
    ("so much else fails", "exclude what fails, and analyse again"),
    (
        "relies on the full size",
        "keep the size that the named module works with in an integer attribute of it, or take it from x.shape; names of head "
        "counts go into evoprune.space.attributes.HEAD_COUNTS",
    ),
    ("differs from the masked one", "have the named module compute nothing from its width"),
    ("has no rule for", "write it with operations that evoprune knows, or open an issue"),
    ("for a rule failed", "open an issue with the reason"),
    ("meets a tensor of fixed size", "make the tensor of x.shape in the forward pass, or a parameter or buffer"),
    ("is matched with a fixed size", "make the tensor of x.shape in the forward pass, or a parameter or buffer"),
)
"""Parts of reasons, each with what helps; the first that fits counts."""


def remedies(frozen: Sequence[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What would unfreeze layers, each with the layers that it is for, in their order.

    Args:
        frozen: `(layer, reason)` of what can't be pruned.
    """
    found: dict[str, list[str]] = {}
    for name, reason in frozen:
        remedy = next((remedy for part, remedy in _REMEDIES if part in reason), None)
        if remedy is not None:
            found.setdefault(remedy, []).append(name)
    return tuple((remedy, tuple(names)) for remedy, names in found.items())
