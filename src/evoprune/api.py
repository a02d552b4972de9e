"""The public face: what `import evoprune` offers."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from evoprune import metrics
from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.config.given import Settings, as_mapping, given
from evoprune.config.recipes import refuse_settings_of_recipes, resolve_recipe_config, run_directory
from evoprune.config.schema import Config, make_config
from evoprune.data.task import Task
from evoprune.errors import UsageError
from evoprune.events import Caution, Event, Listener, broadcast
from evoprune.exporters.exporting import Exported, export
from evoprune.mask_plan import MaskPlan
from evoprune.name_patterns import one_or_more
from evoprune.nn_utils.comparison import Verification
from evoprune.objectives.compute import ComputeReport, count
from evoprune.plan import PruningPlan
from evoprune.pruning import mask, prune, verify
from evoprune.report.summary import text_table
from evoprune.report.writer import ensure_report
from evoprune.run.factories.finetuning import finetune_config, finetune_run, finetune_source
from evoprune.run.factories.runs import execute
from evoprune.run.factories.stored import recipe_source, stored_config, target_of
from evoprune.run.finetune import FINETUNED
from evoprune.run.problem import LiveSource, ProblemSource, problem_in_hand, problem_of
from evoprune.run.results import Point, Points, points_of
from evoprune.space.groups import Frozen, Group
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.artifact import load_artifact as load
from evoprune.store.atomic import telling_of_full_disk
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.run_directory import ARTIFACT

__all__ = [
    "ComputeReport",
    "Config",
    "Exported",
    "Finetuned",
    "Frozen",
    "Group",
    "MaskPlan",
    "Point",
    "PruningPlan",
    "PruningSpace",
    "Result",
    "Task",
    "Verification",
    "analyze",
    "count",
    "evolve",
    "export",
    "finetune",
    "importance",
    "load",
    "mask",
    "metrics",
    "prune",
    "resume",
    "run_recipe",
    "verify",
]


class Result:
    """What a finished run found; everything is read from its directory.

    Args:
        directory: The run directory.
        config: The run's configuration.
        source: Gives the run's model and task.
    """

    def __init__(self, directory: Path, config: Config, source: ProblemSource) -> None:
        self.directory = directory
        self.config = config
        self._comparison = read_comparison(directory)
        self.comparison: Mapping[str, Any] = self._comparison.to_json()
        self._source = source

    @cached_property
    def best(self) -> Point:
        """The network that was finished: the fittest candidate, or the sparsest that held its accuracy."""
        return self._points.best()

    @cached_property
    def front(self) -> list[Point]:
        """Channels: candidates that no other beats in every objective, sorted by the first one. Masks: every step."""
        return self._points.front()

    def table(self) -> str:
        """Baseline against pruned: accuracy, parameters, MACs, sizes, latency."""
        return text_table(self._comparison)

    def save(self, directory: Path | str) -> Path:
        """Copy the artifact, which `evoprune.load` reads, to a new or empty directory.

        Raises:
            UsageError: The directory holds something.
        """
        target = Path(directory)
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"{target} is not empty", "choose another directory; nothing was changed")
        return Path(shutil.copytree(self.directory / ARTIFACT, target, dirs_exist_ok=True))

    def __repr__(self) -> str:
        return f"<evoprune run in {self.directory}>\n{self.table()}"

    @cached_property
    def _points(self) -> Points:
        return points_of(self.directory, target_of(self.config), self._source, self._comparison)


def evolve(
    model: nn.Module,
    task: Task,
    example_inputs: Any,
    *,
    constraints: str | Sequence[str] = (),
    layers: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    encoding: str | None = None,
    time_budget: str | float | None = None,
    seed: int | None = None,
    workers: int | None = None,
    out: Path | str | None = None,
    config: Settings | None = None,
    factory: str | None = None,
    listeners: Sequence[Listener] = (),
) -> Result:
    """Evolve which parts of `model` to keep, and return the smaller network with all that was found on the way.

    Args:
        model: Trained network; it is copied and stays as it is. Set `training.epochs` in `config` to have the copy trained first.
        task: Train, select and test sets, loss and metric.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        constraints: A bound such as `"macs<=0.5"`, or several; up to 1 without a unit it is a fraction of the dense network's.
        layers: Names or patterns of the layers to prune; all when None. Of channels, the outputs of these may go and no others'.
        exclude: Names or patterns of modules, with all that is in them, or of parameters that stay as they are, as for `analyze`.
        encoding: What a genome means: `channel-bits`, which is the default, prunes channels; `weight-bits`, `neuron-bits`,
            `keep-ratios` and `threshold-exceptions` mask single weights of any module.
        time_budget: Seconds, or a duration such as `"30m"`.
        seed: The one seed that everything random grows from; 0 when neither this nor `config` says.
        workers: Candidates evaluated at once; 1 when neither this nor `config` says. With more than one, model and task must be
            picklable; what a notebook or an unguarded script defines isn't, and takes one. The result does not depend on it.
        out: Run directory; a new temporary one when None. A directory that holds this very run is resumed.
        config: Further settings: a mapping such as `{"ga": {"pop_size": 10}}`, a YAML file, or a `Config`. Arguments override it.
        factory: Import path of what builds the dense network without arguments, kept for `evoprune.load`; the model's class when
            it takes none. It is called once, to see that it builds such a network.
        listeners: Called with each event, see `evoprune.events`.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again with the same arguments and `out` resumes it.
    """
    arguments = {
        "search": given(
            encoding=encoding,
            constraints=list(one_or_more(constraints)) or None,
            layers=None if layers is None else list(one_or_more(layers)),
            exclude=list(one_or_more(exclude)) or None,
        ),
        "masks": {} if layers is None else {"layers": None},
        "execution": given(workers=workers),
        "run": given(seed=seed, time_budget=time_budget),
    }
    resolved = make_config({"execution": {"workers": 1}}, as_mapping(config), arguments)
    refuse_settings_of_recipes(resolved)
    source = LiveSource(problem_of(model, task, example_inputs, factory))
    directory = Path(out or resolved.run.out or tempfile.mkdtemp(prefix="evoprune-"))
    return execute_run(resolved, source, directory, listeners)


def run_recipe(
    recipe: str | None = None,
    *,
    config: Settings | None = None,
    out: Path | str | None = None,
    listeners: Sequence[Listener] = (),
) -> Result:
    """Run a recipe from data to finished model: the same as `evoprune run` on the command line.

    Args:
        recipe: Built-in name or `package.module:function`; the one that `config` names when None.
        config: Settings over the recipe's defaults: a mapping, a YAML file, or a `Config`.
        out: Run directory; `runs/<recipe>` when neither this nor `run.out` is set.
        listeners: Called with each event.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again resumes it.
    """
    resolved = resolve_recipe_config(recipe, as_mapping(config))
    return execute_run(resolved, recipe_source(resolved), run_directory(resolved, out), listeners)


def resume(directory: Path | str, *, listeners: Sequence[Listener] = ()) -> Result:
    """Go on with a recipe's run that was stopped.

    Raises:
        UsageError: There is no run of a recipe in the directory.
    """
    resolved = stored_config(Path(directory))
    return execute_run(resolved, recipe_source(resolved), Path(directory), listeners)


class Finetuned:
    """A run's model that was trained further.

    Args:
        directory: Folder that holds the result.
        comparison: Figures of the network before and after fine-tuning.
        source: Gives the run's model and task.
    """

    def __init__(self, directory: Path, comparison: Comparison, source: ProblemSource) -> None:
        self.directory = directory
        self._comparison = comparison
        self.comparison: Mapping[str, Any] = comparison.to_json()
        self._source = source

    @cached_property
    def model(self) -> nn.Module:
        """The network, on the CPU, in eval mode."""
        return load(self.directory, factory=self._source.load().model)

    def table(self) -> str:
        """Before against after: accuracy, parameters, sparsity."""
        return text_table(self._comparison, ("pruned", "finetuned"))

    def __repr__(self) -> str:
        return f"<fine-tuned model in {self.directory}>\n{self.table()}"


def finetune(
    directory: Path | str,
    *,
    epochs: float | None = None,
    lr: float | None = None,
    out: Path | str | None = None,
    config: Mapping[str, Any] | None = None,
    model: nn.Module | None = None,
    task: Task | None = None,
    example_inputs: Any = None,
    listeners: Sequence[Listener] = (),
) -> Finetuned:
    """Train the finished model of a run further, with its masks held, on train and select; judged once on test.

    Args:
        directory: The run directory; its own files stay as they are.
        epochs: Number of epochs; None for that of the run's last retraining.
        lr: Peak learning rate; that of the run's retraining when None.
        out: A new or empty directory; `finetuned` in the run directory when None.
        config: Further settings of `training` and `execution`.
        model: What `evolve` was called with, and so `task` and `example_inputs`; a recipe's run needs none of them.
        task: The task, with the data of the run.
        example_inputs: Inputs of one forward pass.
        listeners: Called with each event.

    Raises:
        UsageError: There is no finished run, `out` holds something, the data are not the run's, or a part of what `evolve` was
            called with is missing.
    """
    run = Path(directory)
    resolved = finetune_config(run, epochs=epochs, lr=lr, settings=config)
    problem = problem_in_hand(model, task, example_inputs)
    source: ProblemSource = finetune_source(run, resolved) if problem is None else LiveSource(problem)
    target = Path(out) if out is not None else run / FINETUNED
    before = read_comparison(run)
    done = finetune_run(run, resolved, source, target, broadcast(listeners or (_warn,)), before=before)
    return Finetuned(target, done, source)


def execute_run(config: Config, source: ProblemSource, directory: Path, listeners: Sequence[Listener]) -> Result:
    """Run, or resume, and draw the report."""
    execute(config, source, directory, tuple(listeners) or (_warn,))
    with telling_of_full_disk(directory):
        ensure_report(directory)
    return Result(directory, config, source)


def _warn(event: Event) -> None:
    """What a caller who listens to nothing should know all the same."""
    if isinstance(event, Caution):
        # No place in the code: it would be one of ours, and a second line.
        warnings.warn_explicit(f"{event.what}: {event.detail}", UserWarning, "evoprune", 1)
