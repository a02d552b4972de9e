"""One search of weight masks within a run, and what it needs built from a state: space, encoding, first genomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from evoprune.artifact import put_weights
from evoprune.evaluation.evaluate_masks import MaskBench
from evoprune.evaluation.memory import MicroBatch
from evoprune.genome import BitGenome, Bits
from evoprune.plugins import resolve
from evoprune.pruning.encodings.base import MaskEncoding
from evoprune.pruning.encodings.keep_ratios import uniform_bits
from evoprune.pruning.encodings.mask_space import MaskSpace, UnitBits
from evoprune.pruning.maskable import MaskableWeight, maskable_weights
from evoprune.pruning.structure_names import parse_structure
from evoprune.pruning.weight_masks import masks_as_tensors
from evoprune.run.assemble import SCORING_BATCH, finetune_fidelity
from evoprune.run.config import Config
from evoprune.run.mask_measures import constraints_of
from evoprune.run.problem import Problem
from evoprune.run.states import State
from evoprune.seeding import SeedTree
from evoprune.sources.base import Source
from evoprune.space.fingerprint import fingerprint

POLISH: Final = "weight-bits"


@dataclass(frozen=True)
class MaskStage:
    """What the genomes of one search are about.

    Attributes:
        step: Position in the run's schedule.
        state: Digest of the state that candidates start from.
        names: Weights that are searched.
        kept: How many of them stay; None leaves it to fitness.
        encoding: What a genome means.
        alone: Whether a job is the whole search of these weights rather than one candidate.
    """

    step: int
    state: str
    names: tuple[str, ...]
    kept: int | None
    encoding: str
    alone: bool = False


def prunable_weights(config: Config, model: nn.Module) -> tuple[MaskableWeight, ...]:
    """The weights that a run may prune, in the model's order.

    Raises:
        UsageError: A layer is unknown or has no weights.
    """
    return maskable_weights(model, layers=config.masks.layers, include_norm_scales=config.masks.norm_scales)


def everything_alive(config: Config, weights: Sequence[MaskableWeight]) -> dict[str, Bits]:
    """The units of a network that nothing was pruned from.

    Raises:
        UsageError: The structure is not for weights of such a shape.
    """
    structure = parse_structure(config.masks.structure)
    return {weight.name: np.ones(structure.units(_outputs_first(weight)), dtype=np.bool_) for weight in weights}


def build_space(config: Config, model: nn.Module, state: State, names: Sequence[str], kept: int | None) -> MaskSpace:
    """The space of a search over the weights `names`."""
    weights = prunable_weights(config, model)
    searched = tuple(weight for weight in weights if weight.name in names)
    return MaskSpace(
        searched,
        {name: state.alive[name] for name in names},
        kept,
        {criterion: {name: scores[name] for name in names} for criterion, scores in state.orders.items()},
        parse_structure(config.masks.structure),
        _live_outputs(config, model) & frozenset(names),
        fingerprint(model),
    )


def _live_outputs(config: Config, model: nn.Module) -> frozenset[str]:
    """Weights of which every output keeps one. A normalisation's scales are not among them: each is all of its output."""
    names = [weight.name for weight in maskable_weights(model)]
    return frozenset({"all": names, "last": names[-1:], "none": []}[config.masks.live_outputs])


def _outputs_first(weight: MaskableWeight) -> tuple[int, ...]:
    shape = weight.shape
    return (shape[1], shape[0], *shape[2:]) if weight.output_dim else shape


def build_mask_encoding(name: str, space: MaskSpace) -> MaskEncoding:
    """The encoding by name."""
    encoding: MaskEncoding = resolve("mask_encodings", name)(space)
    return encoding


def first_genomes(encoding: MaskEncoding, space: MaskSpace, also: Sequence[UnitBits] = ()) -> list[BitGenome]:
    """What a search begins with: solutions found before, then what each criterion alone would keep, and equal shares of all.

    Without criteria these are the solutions alone; without a goal there is nothing that a criterion could keep.
    """
    found = [encoding.encode(bits) for bits in also]
    if space.kept is not None:
        found += [encoding.encode(space.choose(keys), number) for number, keys in enumerate(space.orders.values())]
        found += [encoding.encode(uniform_bits(space, keys)) for keys in list(space.orders.values())[:1]]
    return list(dict.fromkeys(found))


def build_mask_bench(
    config: Config,
    problem: Problem,
    state: State,
    stage: MaskStage,
    baseline: Mapping[str, float],
    device: torch.device,
) -> MaskBench:
    """A bench around the network of a state; the problem's network is given its weights, in place."""
    model = problem.model
    put_weights(model, dict(state.weights), f"state {stage.state}")
    space = build_space(config, model, state, stage.names, stage.kept)
    elsewhere = {name: bits for name, bits in state.alive.items() if name not in stage.names}
    fidelity = finetune_fidelity(config, problem.task.train)
    return MaskBench(
        model=model.eval(),
        task=problem.task,
        data=scored_samples(config, problem),
        encoding=build_mask_encoding(stage.encoding, space),
        weights=sum(weight.size for weight in prunable_weights(config, model)),
        kept_elsewhere=kept_weights(config, model, elsewhere),
        elsewhere=_held(config, model, state, elsewhere) if fidelity.schedule.steps else {},
        fidelity=fidelity,
        constraints=constraints_of(config),
        baseline=baseline,
        seeds=SeedTree(config.run.seed).child("candidate", stage.step),
        device=device,
        training_batch=MicroBatch(fidelity.schedule.batch_size, stage="fine-tuning a candidate"),
        scoring_batch=MicroBatch(SCORING_BATCH, stage="scoring a candidate"),
    )


def _held(config: Config, model: nn.Module, state: State, alive: UnitBits) -> Mapping[str, torch.Tensor]:
    """Masks of weights that are not searched, for candidates that learn."""
    return masks_as_tensors(model, build_space(config, model, state, list(alive), None).plan(alive))


def scored_samples(config: Config, problem: Problem) -> Source:
    """The part of the select set that candidates are scored on."""
    samples = config.fidelity.select_samples
    return problem.task.select if samples is None else problem.task.select.head(samples)


def kept_weights(config: Config, model: nn.Module, alive: UnitBits) -> int:
    """Weights in the units of `alive`, which may be some of the weight tensors only."""
    weights = tuple(weight for weight in prunable_weights(config, model) if weight.name in alive)
    space = MaskSpace(weights, alive, None, {}, parse_structure(config.masks.structure), frozenset(), "")
    return sum(space.weights_in(weight, alive[weight.name]) for weight in weights)
