"""The public face: what `import evoprune` offers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from evoprune import metrics
from evoprune.additions import Finetuned, Finished, finetune, finish
from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.config.given import Settings, as_mapping, given
from evoprune.config.recipes import refuse_settings_of_recipes, resolve_recipe_config, run_directory
from evoprune.config.schema import Config, make_config
from evoprune.data.own_training import TrainingBudget
from evoprune.data.task import Task
from evoprune.data.used_outputs import Outputs, UsedOutputs
from evoprune.display.shown import shown
from evoprune.errors import UsageError
from evoprune.events import Listener, warn
from evoprune.exporters.exporting import Exported, export
from evoprune.html_tables import html_table
from evoprune.mask_plan import MaskPlan
from evoprune.name_patterns import one_or_more
from evoprune.nn_utils.comparison import Verification
from evoprune.nn_utils.folding import fold
from evoprune.nn_utils.folding import fold as folded
from evoprune.objectives.compute import ComputeReport, count
from evoprune.plan import PruningPlan
from evoprune.pruning import mask, prune, verify
from evoprune.python_terms import SETTINGS, in_python_terms
from evoprune.report.summary import comparison_rows, notes, text_table
from evoprune.report.timing_rows import timing_html
from evoprune.report.writer import ensure_report
from evoprune.run.factories.runs import execute
from evoprune.run.factories.stored import recipe_source, stored_config, target_of
from evoprune.run.problem import LiveSource, ProblemSource, problem_of
from evoprune.run.results import Point, Points, points_of
from evoprune.space.groups import Frozen, Group
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.artifact import load_artifact as load
from evoprune.store.atomic import telling_of_full_disk
from evoprune.store.comparison import read_comparison
from evoprune.store.run_directory import ARTIFACT

__all__ = [
    "ComputeReport",
    "Config",
    "Exported",
    "Finetuned",
    "Finished",
    "Frozen",
    "Group",
    "MaskPlan",
    "Point",
    "PruningPlan",
    "PruningSpace",
    "Result",
    "Task",
    "TrainingBudget",
    "Verification",
    "analyze",
    "count",
    "evolve",
    "export",
    "finetune",
    "finish",
    "fold",
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

    def _repr_html_(self) -> str:
        headings, comparison = ("", "baseline", "pruned", "change"), self._comparison
        title = f"evoprune run in {self.directory}"
        table = html_table(title, headings, comparison_rows(comparison), notes(comparison))
        return table + timing_html(comparison)

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
    outputs: Outputs = None,
    fold: bool = False,
    encoding: str | None = None,
    time_budget: str | float | None = None,
    seed: int | None = None,
    workers: int | None = None,
    out: Path | str | None = None,
    config: Settings | None = None,
    factory: str | None = None,
    listeners: Sequence[Listener] = (),
    progress: bool = True,
) -> Result:
    """Evolve which parts of `model` to keep, and return the smaller network with all that was found on the way.

    Args:
        model: Trained network; it is copied and stays as it is. Set `training.epochs` in `config` to have the copy trained first.
        task: Train, select and test sets, loss and metric.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        constraints: A bound such as `"macs<=0.5"`, or several; up to 1 without a unit it is a fraction of the dense network's.
        layers: Names or patterns of the layers to prune; all when None. Of channels, the outputs of these may go and no others'.
        exclude: Names or patterns of modules, with all that is in them, or of parameters that stay as they are, as for `analyze`.
        outputs: What loss and metric use of the outputs, as for `analyze`; what the task says when None. The rest may change.
        fold: Prune a copy whose computed weights are plain, as `evoprune.fold` makes it; `evoprune.load` then takes such a copy
            as `model`.
        encoding: What a genome means: `channel-widths`, which is the default, and `channel-bits` prune channels; `weight-bits`,
            `neuron-bits`, `keep-ratios` and `threshold-exceptions` mask single weights of any module.
        time_budget: Seconds, or a duration such as `"30m"`.
        seed: The one seed that everything random grows from; 0 when neither this nor `config` says.
        workers: Candidates evaluated at once; 1 when neither this nor `config` says. With more than one, model and task must be
            picklable; what a notebook or an unguarded script defines isn't, and takes one. The result does not depend on it.
        out: Run directory; a new temporary one when None. A directory that holds this very run is resumed.
        config: Further settings: a mapping such as `{"ga": {"pop_size": 10}}`, a YAML file, or a `Config`. Arguments override it.
        factory: Import path of what builds the dense network without arguments, kept for `evoprune.load`; the model's class when
            it takes none. It is called once, to see that it builds such a network.
        listeners: Called with each event, see `evoprune.events`.
        progress: Whether the run is shown while it lasts: on standard error, in a notebook below the cell.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again with the same arguments and `out` resumes it.
    """
    used = UsedOutputs.of(outputs)
    arguments = {
        "search": given(
            encoding=encoding,
            constraints=list(one_or_more(constraints)) or None,
            layers=None if layers is None else list(one_or_more(layers)),
            exclude=list(one_or_more(exclude)) or None,
            outputs=None if used.function else list(used.paths) or None,
        ),
        "masks": {} if layers is None else {"layers": None},
        "execution": given(workers=workers),
        "run": given(seed=seed, time_budget=time_budget),
    }
    with in_python_terms(SETTINGS):
        resolved = make_config({"execution": {"workers": 1}}, as_mapping(config), arguments)
        refuse_settings_of_recipes(resolved)
        task = task.with_outputs(used) if used.function else task
        model = folded(model, example_inputs) if fold else model
        source = LiveSource(problem_of(model, task, example_inputs, factory))
        directory = Path(out or resolved.run.out or tempfile.mkdtemp(prefix="evoprune-"))
        with shown(listeners, progress=progress) as told:
            return execute_run(resolved, source, directory, told)


def run_recipe(
    recipe: str | None = None,
    *,
    config: Settings | None = None,
    out: Path | str | None = None,
    listeners: Sequence[Listener] = (),
    progress: bool = True,
) -> Result:
    """Run a recipe from data to finished model: the same as `evoprune run` on the command line.

    Args:
        recipe: Built-in name or `package.module:function`; the one that `config` names when None.
        config: Settings over the recipe's defaults: a mapping, a YAML file, or a `Config`.
        out: Run directory; `runs/<recipe>` when neither this nor `run.out` is set.
        listeners: Called with each event.
        progress: Whether the run is shown while it lasts, as by `evolve`.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again resumes it.
    """
    with in_python_terms():
        resolved = resolve_recipe_config(recipe, as_mapping(config))
        with shown(listeners, progress=progress) as told:
            return execute_run(resolved, recipe_source(resolved), run_directory(resolved, out), told)


def resume(directory: Path | str, *, listeners: Sequence[Listener] = (), progress: bool = True) -> Result:
    """Go on with a recipe's run that was stopped.

    Args:
        directory: The run directory.
        listeners: Called with each event.
        progress: Whether the run is shown while it lasts, as by `evolve`.

    Raises:
        UsageError: There is no run of a recipe in the directory.
    """
    with in_python_terms():
        resolved = stored_config(Path(directory))
        with shown(listeners, progress=progress) as told:
            return execute_run(resolved, recipe_source(resolved), Path(directory), told)


def execute_run(config: Config, source: ProblemSource, directory: Path, listeners: Sequence[Listener]) -> Result:
    """Run, or resume, and draw the report."""
    execute(config, source, directory, tuple(listeners) or (warn,))
    with telling_of_full_disk(directory):
        ensure_report(directory)
    return Result(directory, config, source)
