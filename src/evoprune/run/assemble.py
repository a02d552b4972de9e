"""The composition root: the one place where configuration becomes objects."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evoprune.artifact import put_weights, read_weights
from evoprune.errors import ConfigError
from evoprune.evaluation.evaluate import evaluate_candidate
from evoprune.evaluation.fidelity import Fidelity
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import Schedule
from evoprune.evaluation.workbench import Workbench
from evoprune.execution.base import Job, JobFunction, Outcome
from evoprune.genome import BitGenome
from evoprune.objectives.base import Objective
from evoprune.objectives.constraint import Constraint
from evoprune.plugins import known_names, resolve
from evoprune.run.config import Config, TrainingConfig
from evoprune.run.mask_measures import MAXIMIZED, check_measures
from evoprune.run.placement import ELASTIC, accelerator_slots, check_executor
from evoprune.run.presets import is_mask_run
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.stop_rules import check_target
from evoprune.search.base import Representation, Search, SearchFactory, SearchSettings
from evoprune.seeding import SeedTree
from evoprune.sources.base import Source
from evoprune.space.base import Encoding
from evoprune.space.pruning_space import PruningSpace

# Fitness, reports and fronts need these two whatever is searched for.
ALWAYS_MEASURED = ("accuracy", "macs")
# Larger batches fall out of a core's cache: 500 took 1.5 times as long per sample as 250.
SCORING_BATCH = 250


def resolve_device(name: str) -> torch.device:
    """The device that `execution.device` stands for.

    Raises:
        ConfigError: It is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"execution.device is {name}, but torch sees {torch.cuda.device_count()} CUDA devices", "use auto or cpu"
        )
    if device.type not in ("cpu", "cuda") and not getattr(torch, device.type).is_available():
        raise ConfigError(f"execution.device is {name}, but torch sees no such device", "use auto or cpu")
    return device


def check_names(config: Config) -> None:
    """Resolve every name in the configuration, so that a wrong one is found before there is a directory or any work.

    Raises:
        UsageError: A name is unknown, or what it stands for is not installed.
    """
    masks = is_mask_run(config)
    named = [
        ("mask_encodings" if masks else "encodings", config.search.encoding),
        ("searches", config.search.algorithm),
    ]
    if config.recipe is not None:
        named.append(("recipes", config.recipe))
    if not masks:
        _check_encoding(config.search.encoding)
    for kind, name in named:
        resolve(kind, name)
    check_executor(config)
    if masks:
        check_measures(config)
        check_target(config, tuple(MAXIMIZED))
    elif config.search.preset == "reference":
        raise ConfigError(
            f"search.preset reference is for weight masks, search.encoding is {config.search.encoding}",
            "leave search.encoding out, or set weight-bits",
        )
    else:
        check_target(config, [objective.name for objective in build_objectives(config)])
    resolve_device(config.execution.device)


def _check_encoding(name: str) -> None:
    """Say of an unknown name what there is for channels and for weights: which of the two was meant is not known."""
    known = [*known_names("encodings"), *known_names("mask_encodings")]
    if ":" not in name and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join([*close, *(one for one in known if one not in close)])
        raise ConfigError(
            f"{name!r} is not one of the encodings: {listed}", "or name your own as package.module:attribute"
        )


def resolve_workers(config: Config, device: torch.device) -> int:
    """Candidates to evaluate at once: as asked, or all that a cluster takes, that the accelerators take, or one per core."""
    if config.execution.executor == "in-process":
        return 1
    if config.execution.workers != "auto":
        return config.execution.workers
    if config.execution.address is not None:
        return ELASTIC
    if device.type != "cpu":
        return accelerator_slots(config, device)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def place(model: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """Move a network that is ours to `device` and into the configured memory layout, in place."""
    model = model.to(device)
    if config.execution.channels_last and any(isinstance(module, nn.Conv2d) for module in model.modules()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def to_device(inputs: Any, device: torch.device) -> Any:
    """Example inputs, moved: a tensor, or a tuple, list or dict of them."""
    if isinstance(inputs, torch.Tensor):
        return inputs.to(device)
    if isinstance(inputs, dict):
        return {key: to_device(value, device) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(to_device(value, device) for value in inputs)
    return inputs


def retraining_schedule(training: TrainingConfig, source: Source, *, epochs: float) -> Schedule:
    """A schedule of so many epochs of retraining over `source`."""
    schedule = training_schedule(training, source, epochs=epochs, lr=training.retrain_lr)
    decay = training.retrain_weight_decay
    return replace(
        schedule,
        optimizer=training.retrain_optimizer or training.optimizer,
        weight_decay=training.weight_decay if decay is None else decay,
    )


def training_schedule(training: TrainingConfig, source: Source, *, epochs: float, lr: float) -> Schedule:
    """A schedule of so many epochs over `source`, fractions rounded to whole steps."""
    steps = round(epochs * source.batch_count(training.batch_size))
    return Schedule(
        steps, training.batch_size, training.optimizer, lr, training.weight_decay, precision=training.precision
    )


def finetune_fidelity(config: Config, train_set: Source) -> Fidelity:
    """The rung that candidates are scored at."""
    training = config.training
    batch_size = training.finetune_batch_size or training.batch_size
    steps = training.finetune_steps
    if steps is None:
        steps = round(training.finetune_epochs * train_set.batch_count(batch_size))
    schedule = Schedule(
        steps,
        batch_size,
        training.optimizer,
        training.finetune_lr,
        training.weight_decay,
        precision=training.precision,
    )
    return Fidelity(config.fidelity.recalibrate_batches, schedule, config.fidelity.select_samples)


def build_encoding(config: Config, space: PruningSpace) -> Encoding:
    """The encoding by name, over the configured layers."""
    factory = resolve("encodings", config.search.encoding)
    encoding: Encoding = factory(space, layer_types=config.search.layer_types, round_to=config.search.round_to)
    return encoding


def build_objectives(config: Config) -> list[Objective]:
    """All that has to be measured: what is searched for, what is bounded, and what reports need."""
    return list(_objectives_as_configured(config).values())


def searched_objectives(config: Config) -> list[Objective]:
    """Those of `search.objectives`, in order: what costs and fronts are made of."""
    measured = _objectives_as_configured(config)
    return [measured[name] for name in config.search.objectives]


def _objectives_as_configured(config: Config) -> dict[str, Objective]:
    """Objectives by what the configuration calls them; a constraint may use the `name` of any that is searched for."""
    found: dict[str, Objective] = {
        name: resolve("objectives", name)() for name in dict.fromkeys([*ALWAYS_MEASURED, *config.search.objectives])
    }
    for text in config.search.constraints:
        name = Constraint.parse(text).objective
        if name not in {objective.name for objective in found.values()}:
            found[name] = resolve("objectives", name)()
    return found


def build_search(
    config: Config, encoding: Representation, seeds: SeedTree, initial: Sequence[BitGenome] = ()
) -> Search:
    """The search by name, ready for its first `ask`; `initial` genomes are part of its first generation."""
    factory: SearchFactory = resolve("searches", config.search.algorithm)
    ga = config.ga
    settings = SearchSettings(
        pop_size=ga.pop_size,
        mutation_rate=ga.mutation_rate,
        crossover_rate=ga.crossover_rate,
        tournament_size=ga.tournament_size,
        elitism=ga.elitism,
        initial_keep=ga.initial_keep,
        crossover=ga.crossover,
        mutation=ga.mutation,
        initial=initial,
    )
    # numpy's and pymoo's seeds have 32 bits.
    seed = seeds.child("search").seed % 2**32
    return factory(encoding, settings, objectives=len(config.search.objectives), seed=seed)


@dataclass(frozen=True)
class CandidateWork:
    """Everything that candidates of a run need: a picklable recipe for a workbench.

    Attributes:
        config: The run's configuration.
        source: Where model and task come from.
        weights: The trained baseline's safetensors file; None where the source's network has them already.
        space: What may be pruned.
        baseline: The dense network's value of each objective.
        device: Name of the device candidates run on.
    """

    config: Config
    source: ProblemSource
    weights: Path | None
    space: PruningSpace
    baseline: Mapping[str, float]
    device: str

    def __call__(self) -> JobFunction:
        """Set up a workbench here, and return the function that evaluates jobs on it."""
        return partial(evaluate_job, self.workbench())

    def workbench(self) -> Workbench:
        """A workbench around the trained baseline."""
        device, problem = torch.device(self.device), self._trained()
        fidelity = finetune_fidelity(self.config, problem.task.train)
        return Workbench(
            model=place(problem.model, self.config, device),
            task=problem.task,
            example_inputs=to_device(problem.example_inputs, device),
            encoding=build_encoding(self.config, self.space),
            fidelities=[fidelity],
            objectives=build_objectives(self.config),
            constraints=tuple(Constraint.parse(text) for text in self.config.search.constraints),
            baseline=self.baseline,
            seeds=SeedTree(self.config.run.seed).child("candidate"),
            device=device,
            training_batch=MicroBatch(fidelity.schedule.batch_size, stage="fine-tuning a candidate"),
            scoring_batch=MicroBatch(SCORING_BATCH, stage="scoring a candidate"),
        )

    def portable(self) -> CandidateWork:
        """The same work with model and data within."""
        return replace(self, source=LiveSource(self._trained()), weights=None)

    def files(self, job: Job) -> Mapping[str, Path]:
        """None: all that candidates need is there from the start."""
        del job
        return {}

    def _trained(self) -> Problem:
        problem = self.source.load()
        if self.weights is not None:
            put_weights(problem.model, read_weights(self.weights), str(self.weights))
        return problem


def evaluate_job(bench: Workbench, job: Job) -> Outcome:
    """Evaluate one job on `bench`."""
    evaluation, cost = evaluate_candidate(bench, job.genome, job.rung)
    return Outcome(job, evaluation, cost)
