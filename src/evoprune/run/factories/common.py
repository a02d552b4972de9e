"""From configuration to the objects that every run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evoprune.config.kinds import LADDERS, chosen_algorithm, is_mask_run
from evoprune.config.schema import Config
from evoprune.evaluation.teacher import Distillation
from evoprune.objectives.constraint import Constraint
from evoprune.run.measures import Wanted
from evoprune.run.placement import Placement
from evoprune.run.rungs import LadderShape
from evoprune.run.search_plan import SearchPlan
from evoprune.run.stop_rules import Ends
from evoprune.run.timing.model_timing import TimingPlan
from evoprune.run.training_plan import Learning, TrainingPlan
from evoprune.run.workplace import Workplace, resolve_device
from evoprune.search.base import SearchSettings


def workplace_of(config: Config) -> Workplace:
    """Where networks are, the layout not settled yet.

    Raises:
        ConfigError: The device is not there.
    """
    execution = config.execution
    return Workplace(
        resolve_device(execution.device),
        execution.training_threads,
        execution.candidate_threads,
        execution.channels_last,
        execution.isolation,
    )


def timing_plan(config: Config) -> TimingPlan:
    """What of finished networks is timed."""
    timing = config.timing
    return TimingPlan(timing.batch, timing.compile, timing.onnxruntime)


def training_plan(config: Config) -> TrainingPlan:
    """How networks learn."""
    training = config.training

    def learning(lr: float, optimizer: str | None, weight_decay: float | None, batch_size: int | None) -> Learning:
        return Learning(
            batch_size or training.batch_size,
            optimizer or training.optimizer,
            lr,
            training.weight_decay if weight_decay is None else weight_decay,
            training.precision,
            training.clip_grad_norm,
        )

    taught = Distillation(training.distill, training.distill_temperature) if training.distill else None
    retraining = learning(training.retrain_lr, training.retrain_optimizer, training.retrain_weight_decay, None)
    return TrainingPlan(
        baseline=learning(training.lr, None, None, None),
        finetuning=learning(training.finetune_lr, None, None, training.finetune_batch_size),
        retraining=replace(retraining, distillation=taught),
        epochs=training.epochs,
        retrain_epochs=training.retrain_epochs,
        finetune_epochs=training.finetune_epochs,
        finetune_steps=training.finetune_steps,
        finetune_min_steps=training.finetune_min_steps,
        recalibrate_batches=config.fidelity.recalibrate_batches,
        select_samples=config.fidelity.select_samples,
    )


def search_plan(config: Config) -> SearchPlan:
    """How genomes are searched for."""
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
        inherit=config.search.inherit,
    )
    return SearchPlan(
        chosen_algorithm(config),
        settings,
        len(config.search.objectives),
        ga.num_generations,
        config.search.asynchronous,
        config.run.max_candidates,
        _ladder(config),
    )


def _ladder(config: Config) -> LadderShape | None:
    """The shape of the generations, where the search is a ladder."""
    algorithm, training = chosen_algorithm(config), config.training
    if algorithm not in LADDERS:
        return None
    shrinks = algorithm == "ladder"
    return LadderShape(
        config.ga.pop_size, config.ga.num_generations, shrinks, config.search.share, training.finetune_steps
    )


def ends_of(config: Config) -> Ends:
    """When a search is over before its last generation."""
    run = config.run
    return Ends(_parsed(run.target or ()), run.stall_generations, run.max_candidates)


def placement_of(config: Config) -> Placement:
    """Where candidates are evaluated."""
    execution = config.execution
    return Placement(
        executor=execution.executor,
        workers=execution.workers,
        address=execution.address,
        device=execution.device,
        devices=execution.devices,
        gpus_per_candidate=execution.gpus_per_candidate,
        working_dir=_working_dir(config),
        time_limit=execution.candidate_time_limit,
        threads=execution.candidate_threads,
        whole_searches=is_mask_run(config) and config.masks.mode == "independent",
    )


def constraints_of(config: Config) -> tuple[Constraint, ...]:
    """The bounds that candidates keep."""
    return _parsed(config.search.constraints)


def wanted_measures(config: Config) -> Wanted:
    """What the settings ask to be measured."""
    fitness, masks = config.fitness, is_mask_run(config)
    kind = {"layer_sparsity": fitness.w_sparsity} if masks else {"macs": fitness.w_macs}
    return Wanted(
        searched=config.search.objectives,
        bounded=tuple(one.objective for one in constraints_of(config)),
        targets=tuple(one.objective for one in ends_of(config).target),
        weights={"accuracy": fitness.w_acc, **kind, "loss": fitness.w_loss},
        masks=masks,
        besides=() if masks else config.search.also_measure,
    )


def _parsed(texts: Sequence[str]) -> tuple[Constraint, ...]:
    return tuple(Constraint.parse(text) for text in texts)


def bounds_by_setting(config: Config) -> Mapping[str, Sequence[str]]:
    """All bounds as they are written, by the setting that they stand in."""
    return {"search.constraints": config.search.constraints, "run.target": config.run.target or ()}


def _working_dir(config: Config) -> Path | None:
    """What a run in a folder of the user's own code needs of it; built-in names need nothing."""
    if config.execution.working_dir is not None:
        return config.execution.working_dir
    named = [config.recipe or ":", config.search.algorithm, config.search.encoding, *config.search.objectives]
    return Path.cwd() if any(":" in name for name in named) else None
