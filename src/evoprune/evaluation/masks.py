"""The life of a candidate that masks weights: `channels.py` for networks that keep their shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.task import Task
from evoprune.evaluation.base import Bounds, measured
from evoprune.evaluation.recovery import Fidelity, recover
from evoprune.evaluation.replay.layer_replay import LayerReplay
from evoprune.genome import BitGenome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, masks_as_tensors
from evoprune.masks.encodings.base import MaskEncoding
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.base import Deferred, Objective, Subject, Zeros
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class MaskEvaluator:
    """Masks weights of a network, lets it learn where a rung pays for that, and measures it.

    Attributes:
        model: Network on `device`, as the search found it; never modified.
        task: Data, loss and metric.
        example_inputs: Inputs of one forward pass, on `device`.
        data: Samples of the validation set that candidates are scored on.
        encoding: Turns a genome into masks of the searched weights.
        weights: Prunable weights of the whole run, searched now or not.
        kept_elsewhere: Number of these that stay in tensors that are not searched now.
        elsewhere: Masks of those tensors, bool by parameter name, which hold while a candidate learns.
        fidelities: Training of a candidate before it is scored; without steps it is scored as it is, from kept activations.
        objectives: Objectives to measure, those of the bounds included.
        bounds: Bounds that candidates have to keep.
        seeds: Root of the candidates' seeds.
        device: Device that does the work.
        training_batch: Samples per training pass.
        scoring_batch: Samples per scoring pass.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    data: Source
    encoding: MaskEncoding
    weights: int
    kept_elsewhere: int
    elsewhere: Mapping[str, Tensor]
    fidelities: Sequence[Fidelity]
    objectives: Sequence[Objective]
    bounds: Bounds
    seeds: SeedTree
    device: torch.device
    training_batch: MicroBatch
    scoring_batch: MicroBatch
    _replays: dict[tuple[tuple[str, ...], int], LayerReplay] = field(default_factory=dict)

    @property
    def micro_batch(self) -> int:
        """Samples per training pass; 0 where there is no limit."""
        return self.training_batch.size or 0

    def replay(self, names: tuple[str, ...], batch_size: int) -> LayerReplay:
        """The network's activations in front of these weights, kept from candidate to candidate."""
        key = (names, batch_size)
        if key not in self._replays:
            self._replays.clear()
            self._replays[key] = LayerReplay(self.model, names, self.data, device=self.device, batch_size=batch_size)
        return self._replays[key]

    def measure(self, genome: BitGenome, fidelity: int) -> Iterator[Mapping[str, float]]:
        """All values at once where the candidate doesn't learn; else first those that its masks alone decide.

        Raises:
            CandidateError: The candidate can't be trained or measured.
        """
        plan, rung = self.encoding.decode(genome), self.fidelities[fidelity]
        if rung.schedule.steps == 0 and rung.recalibrate_batches == 0:
            yield self._as_it_is(plan)
            return
        model = apply_masks(self.model, plan)
        yield self._values(self._early, plan, model)
        recover(
            model,
            self.task,
            rung,
            seeds=self.seeds.child(genome.digest, fidelity),
            device=self.device,
            micro_batch=self.training_batch,
            masks={**self.elsewhere, **masks_as_tensors(model, plan)},
        )
        yield self._values([one for one in self.objectives if one.needs_training], plan, model)

    @property
    def _early(self) -> list[Objective]:
        return [one for one in self.objectives if not one.needs_training]

    def _as_it_is(self, plan: MaskPlan) -> dict[str, float]:
        """The values of the masked network from kept activations; it is only built for an objective that looks at it."""
        parameters = dict(self.model.named_parameters())
        values = {
            name: parameters[name].detach().masked_fill(~mask, 0)
            for name, mask in masks_as_tensors(self.model, plan).items()
        }
        names = tuple(sorted(values))
        network = Deferred(lambda: apply_masks(self.model, plan))
        return measured(
            self.objectives,
            self.scoring_batch,
            lambda size: self._subject(plan, network, size, run=lambda: self.replay(names, size).outputs(values)),
        )

    def _values(self, objectives: Sequence[Objective], plan: MaskPlan, model: nn.Module) -> dict[str, float]:
        return measured(objectives, self.scoring_batch, lambda size: self._subject(plan, model, size))

    def _subject(self, plan: MaskPlan, network: nn.Module | Deferred, size: int, **more: Any) -> Subject:
        pruned = self.weights - plan.kept - self.kept_elsewhere
        return Subject(
            network,
            self.example_inputs,
            self.data,
            self.task.metric,
            self.device,
            size,
            loss=self.task.loss,
            zeros=Zeros(pruned / self.weights, plan.sparsity),
            **more,
        )
