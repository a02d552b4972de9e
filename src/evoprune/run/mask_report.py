"""`comparison.json` of a mask run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune.mask_plan import MaskPlan
from evoprune.pruning.maskable import MaskableWeight
from evoprune.results import ModelReport
from evoprune.run.artifacts import WEIGHTS


def layers_document(plan: MaskPlan, weights: Sequence[MaskableWeight]) -> list[dict[str, Any]]:
    """Per weight tensor: layer, name, weights, kept, sparsity."""
    rows = []
    for weight in weights:
        kept = plan.masks[weight.name].kept
        rows.append(
            {
                "layer": weight.layer,
                "name": weight.name,
                "weights": weight.size,
                "kept": kept,
                "sparsity": (weight.size - kept) / weight.size,
            }
        )
    return rows


def layer_sparsities(plan: MaskPlan, weights: Sequence[MaskableWeight]) -> dict[str, float]:
    """`{layer: sparsity}` of all its weight tensors together."""
    counts: dict[str, list[int]] = {}
    for row in layers_document(plan, weights):
        counts.setdefault(row["layer"], [0, 0])
        counts[row["layer"]][0] += row["weights"] - row["kept"]
        counts[row["layer"]][1] += row["weights"]
    return {layer: pruned / size for layer, (pruned, size) in counts.items()}


def comparison_of(
    reports: Mapping[str, ModelReport],
    plan: MaskPlan,
    weights: Sequence[MaskableWeight],
    steps: Sequence[Mapping[str, Any]],
    artifact: Path,
) -> dict[str, Any]:
    """The document.

    Args:
        reports: Of `baseline` and `pruned`.
        plan: What stays.
        weights: All that could be pruned.
        steps: What each step came to.
        artifact: Where the sparse network was saved: its size is that of the file.
    """
    baseline, pruned = reports["baseline"], reports["pruned"]
    return {
        "baseline": {**baseline.to_json(), "sparsity": 0.0, "nonzero_params": baseline.params},
        "pruned": {
            **pruned.to_json(),
            "size_bytes": (artifact / WEIGHTS).stat().st_size,
            "sparsity": plan.sparsity,
            "nonzero_params": pruned.params - (plan.size - plan.kept),
        },
        "layers": layers_document(plan, weights),
        "steps": list(steps),
        "front": [],
    }
