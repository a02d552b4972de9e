"""Defaults that go together: what a kind of run starts from before anything is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from evoprune.plugins import BUILT_IN
from evoprune.run.settings import merge

if TYPE_CHECKING:
    from evoprune.run.config import Config

MASKS: Final[dict[str, Any]] = {
    "training": {"finetune_epochs": 0},
    "ga": {"pop_size": 20, "num_generations": 6, "mutation_rate": 0.03},
    "fitness": {"w_acc": 0.0, "w_macs": 0.0, "w_sparsity": 0.0, "w_loss": 1.0},
    "search": {"objectives": ["loss", "sparsity"]},
    "fidelity": {"select_samples": 2000, "recalibrate_batches": 0},
}

# Nothing of it is a rule about what matters; so it can't reach what seeded searches reach.
REFERENCE: Final[dict[str, Any]] = {
    "ga": {
        "pop_size": 20,
        "num_generations": 400,
        "mutation_rate": 0.02,
        "crossover": "single-point",
        "mutation": "prune",
        "initial_keep": [0.8, 1.0],
    },
    "fitness": {"w_acc": 0.2, "w_sparsity": 0.8, "w_loss": 0.0},
    "search": {
        "algorithm": "steady-state",
        "encoding": "weight-bits",
        "seeding": "none",
        "constraints": ["accuracy>=0.95"],
    },
    # A guard would turn bits on again.
    "masks": {"mode": "layers", "goals": None, "live_outputs": "none"},
}

MASK_ENCODINGS: Final = frozenset(BUILT_IN["mask_encodings"])


def is_mask_run(config: Config) -> bool:
    """Whether a run prunes single weights; others prune channels."""
    return config.search.encoding in MASK_ENCODINGS


def preset_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What lies under `settings`: the preset that they name, over the defaults of the kind of run that they ask for."""
    search = settings.get("search")
    search = search if isinstance(search, Mapping) else {}
    reference = REFERENCE if search.get("preset") == "reference" else {}
    encoding = search.get("encoding", reference.get("search", {}).get("encoding"))
    return merge(MASKS if encoding in MASK_ENCODINGS else {}, reference)
