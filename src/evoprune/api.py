"""The public face: what `import evoprune` offers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from evoprune.artifact import put_weights, read_weights
from evoprune.errors import UsageError
from evoprune.events import Listener
from evoprune.mask_plan import MaskPlan
from evoprune.objectives.compute import ComputeReport, count
from evoprune.plan import PruningPlan
from evoprune.pruning.apply import mask, prune, verify
from evoprune.pruning.checked import analyze
from evoprune.pruning.importance.scores import importance
from evoprune.pruning.verify import Verification
from evoprune.report.summary import text_table
from evoprune.report.writer import ensure_report
from evoprune.run.artifacts import load_artifact as load
from evoprune.run.artifacts import read_artifact_weights
from evoprune.run.assemble import build_encoding
from evoprune.run.config import Config, make_config
from evoprune.run.files import read_json
from evoprune.run.journal import JournalEntry, read_journal
from evoprune.run.problem import LiveSource, Problem, ProblemSource, factory_of
from evoprune.run.recipe_runs import recipe_source, resolve_recipe_config, run_directory, stored_config
from evoprune.run.runner import execute
from evoprune.run.settings import read_config
from evoprune.run.store import ARTIFACT, BASELINE, COMPARISON, JOURNAL
from evoprune.space.base import Encoding
from evoprune.space.pruning_space import Frozen, Group, PruningSpace
from evoprune.task import Task

__all__ = [
    "ComputeReport",
    "Config",
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
    "importance",
    "load",
    "mask",
    "prune",
    "resume",
    "run_recipe",
    "verify",
]

Settings = Config | Mapping[str, Any] | Path | str


@dataclass(frozen=True)
class Point:
    """One candidate of a run.

    Attributes:
        objectives: Its scores, measured on the select set after the brief fine-tune.
        plan: What it keeps of the dense network.
    """

    objectives: Mapping[str, float]
    plan: PruningPlan
    _build: Callable[[], nn.Module]

    @cached_property
    def model(self) -> nn.Module:
        """The pruned network: retrained for `result.best`, with the dense network's weights for other points of the front."""
        return self._build()


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
        self.comparison = read_json(directory / COMPARISON)
        self._source = source

    @cached_property
    def best(self) -> Point:
        """The fittest candidate, with its retrained network."""
        entries = {entry.evaluation.genome: entry for entry in self._entries}
        return self._point(entries[self.comparison["pruned"]["genome"]], self._finished)

    @cached_property
    def front(self) -> list[Point]:
        """Candidates that no other beats in every objective, sorted by the first one."""
        return [self._point(self._entries[point["index"]]) for point in self.comparison["front"]]

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
    def _entries(self) -> list[JournalEntry]:
        return read_journal(self.directory / JOURNAL)

    @cached_property
    def _dense(self) -> nn.Module:
        model = self._source.load().model
        path = self.directory / BASELINE
        put_weights(model, read_weights(path), str(path))
        return model.eval()

    @cached_property
    def _encoding(self) -> Encoding:
        return build_encoding(self.config, analyze(self._dense, self._source.load().example_inputs))

    def _point(self, entry: JournalEntry, build: Callable[[PruningPlan], nn.Module] | None = None) -> Point:
        assert entry.genome is not None
        plan = self._encoding.decode(entry.genome)
        return Point(
            entry.evaluation.objectives, plan, lambda: build(plan) if build is not None else prune(self._dense, plan)
        )

    def _finished(self, plan: PruningPlan) -> nn.Module:
        model = prune(self._dense, plan)
        path = self.directory / ARTIFACT
        put_weights(model, read_artifact_weights(path), str(path))
        return model.eval()


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
        encoding: What a genome means; `channel-bits` when neither this nor `config` says.
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


def execute_run(config: Config, source: ProblemSource, directory: Path, listeners: Sequence[Listener]) -> Result:
    """Run, or resume, and draw the report."""
    execute(config, source, directory, tuple(listeners))
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
