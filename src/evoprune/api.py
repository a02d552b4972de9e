"""The public face: what `import evoprune` offers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from evoprune.errors import UsageError
from evoprune.events import Listener, broadcast
from evoprune.mask_plan import MaskPlan
from evoprune.objectives.compute import ComputeReport, count
from evoprune.plan import PruningPlan
from evoprune.pruning.apply import mask, prune, verify
from evoprune.pruning.checked import analyze
from evoprune.pruning.importance.scores import importance
from evoprune.pruning.verify import Verification
from evoprune.report.run_files import read_comparison
from evoprune.report.summary import text_table
from evoprune.report.writer import ensure_report
from evoprune.run.artifacts import load_artifact as load
from evoprune.run.config import Config, make_config
from evoprune.run.files import telling_of_full_disk
from evoprune.run.finetune import FINETUNED, finetune_config, finetune_run, finetune_source
from evoprune.run.points import Point, Points, points_of
from evoprune.run.problem import LiveSource, Problem, ProblemSource, factory_of
from evoprune.run.recipe_runs import recipe_source, resolve_recipe_config, run_directory, stored_config
from evoprune.run.runner import execute
from evoprune.run.settings import read_config
from evoprune.run.store import ARTIFACT
from evoprune.space.pruning_space import Frozen, Group, PruningSpace
from evoprune.task import Task

__all__ = [
    "ComputeReport",
    "Config",
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
    "finetune",
    "importance",
    "load",
    "mask",
    "prune",
    "resume",
    "run_recipe",
    "verify",
]

Settings = Config | Mapping[str, Any] | Path | str


class Result:
    """What a finished run found; everything is read from its directory.

    Args:
        directory: The run directory.
        config: The run's configuration.
        source: Where its model and task come from.
    """

    def __init__(self, directory: Path, config: Config, source: ProblemSource) -> None:
        self.directory = directory
        self.config = config
        self.comparison = read_comparison(directory)
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
        return text_table(self.comparison)

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
        return points_of(self.directory, self.config, self._source, self.comparison)


def evolve(
    model: nn.Module,
    task: Task,
    example_inputs: Any,
    *,
    constraints: Sequence[str] = (),
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
        constraints: Bounds such as `"macs<=0.5"`; up to 1 without a unit they are fractions of the dense network's value.
        encoding: What a genome means: `channel-bits`, which is the default, prunes channels; `weight-bits`, `keep-ratios` and
            `threshold-exceptions` mask single weights of any module.
        time_budget: Seconds, or a duration such as `"30m"`.
        seed: The one seed that everything random grows from; 0 when neither this nor `config` says.
        workers: Candidates evaluated at once; 1 when neither this nor `config` says. With more than one, model and task must be
            picklable, and a script needs `if __name__ == "__main__":`. The result does not depend on it.
        out: Run directory; a new temporary one when None. A directory that holds this very run is resumed.
        config: Further settings: a mapping such as `{"ga": {"pop_size": 10}}`, a YAML file, or a `Config`. Arguments override it.
        factory: Import path of what builds the dense network without arguments, kept for `evoprune.load`; the model's class when
            it takes none.
        listeners: Told of everything that happens, see `evoprune.events`.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again with the same arguments and `out` resumes it.
    """
    arguments = {
        "search": _given(encoding=encoding, constraints=list(constraints) or None),
        "execution": _given(workers=workers),
        "run": _given(seed=seed, time_budget=time_budget),
    }
    resolved = make_config({"execution": {"workers": 1}}, _as_mapping(config), arguments)
    source = LiveSource(Problem(model, task, example_inputs, factory or factory_of(model)))
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
        listeners: Told of everything that happens.

    Raises:
        UsageError: Something given can't be used.
        RunError: The run stopped; calling again resumes it.
    """
    resolved = resolve_recipe_config(recipe, _as_mapping(config))
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
        directory: Where it was written to.
        comparison: The document of its `comparison.json`.
        source: Where the run's model and task come from.
    """

    def __init__(self, directory: Path, comparison: Mapping[str, Any], source: ProblemSource) -> None:
        self.directory = directory
        self.comparison = comparison
        self._source = source

    @cached_property
    def model(self) -> nn.Module:
        """The network, on the CPU, in eval mode."""
        return load(self.directory, factory=lambda: self._source.load().model)

    def table(self) -> str:
        """Before against after: accuracy, parameters, sparsity."""
        return text_table(self.comparison, ("pruned", "finetuned"))

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
        epochs: As many as the run's last retraining when None.
        lr: Peak learning rate; that of the run's retraining when None.
        out: A new or empty directory; `finetuned` in the run directory when None.
        config: Further settings of `training` and `execution`.
        model: What `evolve` was called with, and so `task` and `example_inputs`; not for a recipe's run.
        task: Its data are the run's.
        example_inputs: For one forward pass.
        listeners: Told of everything that happens.

    Raises:
        UsageError: There is no finished run, `out` holds something, or the data are not the run's.
    """
    run = Path(directory)
    resolved = finetune_config(run, epochs=epochs, lr=lr, settings=config)
    if model is not None and task is not None:
        source: ProblemSource = LiveSource(Problem(model, task, example_inputs, factory_of(model)))
    else:
        source = finetune_source(run, resolved)
    target = Path(out) if out is not None else run / FINETUNED
    before = read_comparison(run)
    done = finetune_run(run, resolved, source, target, broadcast(listeners), before=before)
    return Finetuned(target, done, source)


def execute_run(config: Config, source: ProblemSource, directory: Path, listeners: Sequence[Listener]) -> Result:
    """Run, or resume, and draw the report."""
    execute(config, source, directory, tuple(listeners))
    with telling_of_full_disk(directory):
        ensure_report(directory)
    return Result(directory, config, source)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _as_mapping(settings: Settings | None) -> Mapping[str, Any]:
    if settings is None:
        return {}
    if isinstance(settings, Config):
        return settings.model_dump(mode="json", exclude_unset=True)
    if isinstance(settings, (str, Path)):
        return read_config(Path(settings))
    return yaml.safe_load(yaml.safe_dump(dict(settings)))  # type: ignore[no-any-return]
