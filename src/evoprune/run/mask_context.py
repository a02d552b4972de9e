"""What stays the same in all searches of masks of a run: weights, structure, outputs that must live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evoprune.errors import DataError, StoreCorruptedError, UsageError
from evoprune.genome import Bits
from evoprune.mask_plan import MaskPlan
from evoprune.masks.maskable import MaskableWeight, maskable_weights
from evoprune.masks.neurons import Neurons
from evoprune.masks.space import MaskSpace, UnitBits
from evoprune.masks.structure_names import parse_structure
from evoprune.masks.structures import Structure
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.run.mask_neurons import neurons_of
from evoprune.store.mask_files import ACCEPTED, read_masks
from evoprune.store.states import State


@dataclass(frozen=True)
class MaskTarget:
    """Which weights a run may prune, and what of them must stay.

    Attributes:
        layers: Names of layers, or patterns; None: all.
        exclude: Names or patterns of layers that stay whole.
        norm_scales: Whether the scales of normalisation layers are among them.
        structure: Name of the structure: which weights share a bit.
        live_outputs: Layers whose outputs each keep a weight: `all`, the `last`, or `none`.
        warm_start: Masks that searches begin with: a run directory, or one of the files that `read_masks` takes.
        by_neuron: Whether searches need to know the network's neurons.
    """

    layers: tuple[str, ...] | None
    exclude: tuple[str, ...]
    norm_scales: bool
    structure: str
    live_outputs: str
    warm_start: Path | None
    by_neuron: bool = False

    def of(self, model: nn.Module, example_inputs: Any = None) -> MaskContext:
        """The same, of the weights of a network; with its neurons where searches need them and there are example inputs.

        Raises:
            UsageError: A layer is unknown or has no weights, what is excluded is unknown, or everything is; the network has to be
                traced for its neurons, and can't.
        """
        weights = maskable_weights(
            model, layers=self.layers, exclude=self.exclude, include_norm_scales=self.norm_scales
        )
        # A normalisation's scales are not among them: each is all of its output.
        names = [weight.name for weight in maskable_weights(model)]
        live = frozenset({"all": names, "last": names[-1:], "none": []}[self.live_outputs])
        neurons = None
        if self.by_neuron and example_inputs is not None:
            neurons = neurons_of(model, example_inputs, weights)
        return MaskContext(weights, parse_structure(self.structure), live, fingerprint(model), neurons)

    def read_warm_start(self, model: nn.Module) -> MaskPlan | None:
        """The masks that searches begin with; None where none are named.

        Raises:
            UsageError: They can't be read, don't fit the network, or are of no layer that is searched.
        """
        path = self.warm_start
        if path is None:
            return None
        if not path.exists():
            raise DataError(f"masks.warm_start {path} does not exist", f"accepted: a run directory, {ACCEPTED}")
        try:
            plan = read_masks(path / "solutions" if (path / "solutions").is_dir() else path, model)
        except StoreCorruptedError as error:
            raise DataError(
                f"masks.warm_start: {error.message}", "restore the file, or leave the setting out"
            ) from error
        if not any(weight.name in plan.masks for weight in self.of(model).weights):
            raise UsageError(
                f"masks.warm_start {path} has no masks for the layers that are to be pruned",
                f"it has masks of {', '.join(sorted(plan.masks)[:12])}",
            )
        return plan


@dataclass(frozen=True)
class MaskContext:
    """The weights of one network that masks are searched for.

    Attributes:
        weights: All that may be pruned, in the model's order.
        structure: Says which weights share one bit.
        live: Names of weights of which every output keeps one.
        fingerprint: Digest of the network's structure.
        neurons: The network's neurons; None where nobody asks for them.
    """

    weights: tuple[MaskableWeight, ...]
    structure: Structure
    live: frozenset[str]
    fingerprint: str
    neurons: Neurons | None = None

    @property
    def size(self) -> int:
        """Number of single weights."""
        return sum(weight.size for weight in self.weights)

    def everything_alive(self) -> dict[str, Bits]:
        """The units of a network that nothing was pruned from.

        Raises:
            UsageError: The structure is not for weights of such a shape.
        """
        return {
            weight.name: np.ones(self.structure.units(weight.rows_shape), dtype=np.bool_) for weight in self.weights
        }

    def space(self, state: State, names: Sequence[str], kept: int | None = None) -> MaskSpace:
        """The space of a search over the weights `names` of which `kept` stay; None leaves that to fitness."""
        return MaskSpace(
            tuple(weight for weight in self.weights if weight.name in names),
            {name: state.alive[name] for name in names},
            kept,
            {criterion: {name: scores[name] for name in names} for criterion, scores in state.orders.items()},
            self.structure,
            self.live & frozenset(names),
            self.fingerprint,
            self.neurons,
        )

    def plan(self, state: State, names: Sequence[str] | None = None) -> MaskPlan:
        """The masks of what is alive in a state, of the weights `names` or of all."""
        chosen = list(state.alive) if names is None else list(names)
        return self.space(state, chosen).plan({name: state.alive[name] for name in chosen})

    def kept_weights(self, alive: UnitBits) -> int:
        """Weights in the units of `alive`, which may be some of the weight tensors only."""
        weights = tuple(weight for weight in self.weights if weight.name in alive)
        space = MaskSpace(weights, alive, None, {}, self.structure, frozenset(), "")
        return sum(space.weights_in(weight, alive[weight.name]) for weight in weights)

    def units_of(self, scores: Mapping[str, NDArray[np.floating]]) -> dict[str, NDArray[np.float32]]:
        """Scores of single weights, as arrays by name, summed up by the structure's units."""
        return {weight.name: self._reduced(weight, scores[weight.name]) for weight in self.weights}

    def warm_bits(self, plan: MaskPlan | None, names: Sequence[str]) -> list[UnitBits]:
        """`plan` in units for the weights `names`, as one first solution; weights without a mask stay whole.

        A unit stays when at least half of its weights do.
        """
        if plan is None or not any(name in plan.masks for name in names):
            return []
        bits: dict[str, np.ndarray] = {}
        for weight in self.weights:
            if weight.name in names:
                mask = plan.masks.get(weight.name)
                bools = np.ones(weight.shape, dtype=np.bool_) if mask is None else mask.bools
                bits[weight.name] = self._reduced(weight, bools.astype(np.float32)) >= 0.5
        return [bits]

    def _reduced(self, weight: MaskableWeight, values: NDArray[np.floating]) -> NDArray[np.float32]:
        return self.structure.reduce(weight.rows(values), weight.rows_shape).astype(np.float32)
