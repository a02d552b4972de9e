"""Defaults that go together: what a kind of run starts from before anything is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from evoprune.config.yaml_files import merge
from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint
from evoprune.plugins import BUILT_IN

MASKS: Final[dict[str, Any]] = {
    "training": {"finetune_epochs": 0},
    "ga": {"pop_size": 20, "num_generations": 6, "mutation_rate": 0.03},
    "fitness": {"w_acc": 0.0, "w_macs": 0.0, "w_sparsity": 0.0, "w_loss": 1.0},
    "search": {"algorithm": "genetic", "objectives": ["loss", "sparsity"]},
    "fidelity": {"select_samples": 2000, "recalibrate_batches": 0},
}

# All of the last generation is what there is to choose from.
FRONT: Final[dict[str, Any]] = {"ga": {"pop_size": 32}}

PLANNED: Final = ("macs", "params", "size_bytes", "latency_ms")
"""Costs that are known before a network is built; a bound on one is a budget."""

BITS: Final[dict[str, Any]] = {"ga": {"mutation_rate": 0.02}}

CLASSIC: Final[dict[str, Any]] = {
    "ga": {
        "pop_size": 12,
        "num_generations": 8,
        "mutation_rate": 0.02,
        "crossover_rate": 0.9,
        "tournament_size": 2,
        "elitism": 2,
        "initial_keep": [0.1, 0.6],
    },
    "fitness": {"w_acc": 1.0, "w_macs": 0.2, "w_loss": 0.0},
    "search": {
        "algorithm": "genetic",
        "encoding": "channel-bits",
        "seeding": "none",
        "baselines": "none",
        "objectives": ["accuracy", "macs"],
        "constraints": [],
    },
    "fidelity": {"select_samples": 2000},
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


def with_objectives(merged: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, with objectives and weights of the fitness that go together.

    Where the weights leave out the loss, the metric is searched for in its place. Where the metric is searched for and the loss
    is not, it has the loss's weight.

    Args:
        merged: All settings, defaults of the kind of run included.
        given: Settings of recipe and user; objectives among them stay as they are.
    """
    search, fitness = (_section(merged, name) for name in ("search", "fitness"))
    named, weighed = (_section(given, name) for name in ("search", "fitness"))
    masks = _names_masks(search.get("encoding"))
    if "objectives" not in named:
        if fitness.get("w_loss") != 0:
            return dict(merged)
        return merge(merged, {"search": {"objectives": ["accuracy", "sparsity" if masks else "macs"]}})
    objectives = named["objectives"]
    wanted = [objectives] if isinstance(objectives, str) else objectives
    told = isinstance(wanted, list | tuple) and "accuracy" in wanted and "loss" not in wanted
    if masks or not told or {"w_acc", "w_loss"} & weighed.keys():
        return dict(merged)
    return merge(merged, {"fitness": {"w_acc": 1.0, "w_loss": 0.0}})


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def preset_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What lies under `settings`: the preset that they name, over the defaults of the kind of run that they ask for."""
    search = _section(settings, "search")
    preset = {"reference": REFERENCE, "classic": CLASSIC}.get(str(search.get("preset")), {})
    encoding = search.get("encoding", preset.get("search", {}).get("encoding"))
    if _names_masks(encoding):
        return merge(MASKS, preset)
    front = FRONT if _searches_front(search) else {}
    return merge(merge(front, BITS if encoding == "channel-bits" else {}), preset)


def bounds_a_cost(bounds: Sequence[str]) -> bool:
    """Whether one of the bounds is a budget."""
    parsed = (Constraint.parse(text) for text in bounds)
    return any(one.at_most and one.objective.partition("@")[0] in PLANNED for one in parsed)


def _searches_front(search: Mapping[str, Any]) -> bool:
    """Whether it is a ladder for a front that the settings ask for; where these are wrong, that is said elsewhere."""
    algorithm, bounds = search.get("algorithm", "auto"), search.get("constraints") or ()
    if algorithm != "auto":
        return bool(algorithm == "ladder-front")
    with suppress(ConfigError, TypeError):
        return not bounds_a_cost([bounds] if isinstance(bounds, str) else bounds)
    return False


def _names_masks(encoding: Any) -> bool:
    return isinstance(encoding, str) and encoding in MASK_ENCODINGS
