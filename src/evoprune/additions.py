"""What can be made of a finished run from Python: its model trained further, another point of its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from evoprune.data.task import Task
from evoprune.display.shown import shown
from evoprune.events import Listener, broadcast
from evoprune.html_tables import html_table
from evoprune.name_patterns import one_or_more
from evoprune.python_terms import in_python_terms
from evoprune.report.model_card import write_model_card
from evoprune.report.summary import comparison_rows, notes, text_table
from evoprune.report.timing_rows import timing_html
from evoprune.run.factories.finetuning import finetune_config, finetune_run, finetune_source
from evoprune.run.factories.finishing import choose, finish_config, finish_point, finish_source
from evoprune.run.finetune import FINETUNED
from evoprune.run.problem import LiveSource, ProblemSource, problem_in_hand
from evoprune.store.artifact import load_artifact
from evoprune.store.comparison import Comparison, read_comparison


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
        return load_artifact(self.directory, factory=self._source.load().model)

    def table(self) -> str:
        """Before against after: accuracy, parameters, sparsity."""
        return text_table(self._comparison, ("pruned", "finetuned"))

    def __repr__(self) -> str:
        return f"<fine-tuned model in {self.directory}>\n{self.table()}"

    def _repr_html_(self) -> str:
        rows = comparison_rows(self._comparison, ("pruned", "finetuned"))
        return html_table(f"fine-tuned model in {self.directory}", ("", "pruned", "finetuned", "change"), rows)


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
    progress: bool = True,
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
        progress: Whether the work is shown while it lasts, as by `evolve`.

    Raises:
        UsageError: There is no finished run, `out` holds something, the data are not the run's, or a part of what `evolve` was
            called with is missing.
    """
    run = Path(directory)
    with in_python_terms(), shown(listeners, progress=progress) as told:
        resolved = finetune_config(run, epochs=epochs, lr=lr, settings=config)
        problem = problem_in_hand(model, task, example_inputs)
        source: ProblemSource = finetune_source(run, resolved) if problem is None else LiveSource(problem)
        target = Path(out) if out is not None else run / FINETUNED
        done = finetune_run(run, resolved, source, target, broadcast(told), before=read_comparison(run))
        write_model_card(target)
    return Finetuned(target, done, source)


class Finished:
    """A point of a run's front as a finished network.

    Args:
        directory: Folder that holds the result.
        point: Number of the point.
        comparison: Figures of the dense network and of this one.
        source: Gives the run's model and task.
    """

    def __init__(self, directory: Path, point: int, comparison: Comparison, source: ProblemSource) -> None:
        self.directory = directory
        self.point = point
        self._comparison = comparison
        self.comparison: Mapping[str, Any] = comparison.to_json()
        self._source = source

    @cached_property
    def model(self) -> nn.Module:
        """The network, on the CPU, in eval mode."""
        return load_artifact(self.directory, factory=self._source.load().model)

    def table(self) -> str:
        """Baseline against this network: accuracy, parameters, MACs, sizes, latency."""
        return text_table(self._comparison)

    def __repr__(self) -> str:
        return f"<point {self.point}, finished, in {self.directory}>\n{self.table()}"

    def _repr_html_(self) -> str:
        title, comparison = f"point {self.point}, finished, in {self.directory}", self._comparison
        headings = ("", "baseline", "pruned", "change")
        return html_table(title, headings, comparison_rows(comparison), notes(comparison)) + timing_html(comparison)


def finish(
    directory: Path | str,
    *,
    point: int | None = None,
    constraints: str | Sequence[str] = (),
    epochs: float | None = None,
    lr: float | None = None,
    out: Path | str | None = None,
    config: Mapping[str, Any] | None = None,
    model: nn.Module | None = None,
    task: Task | None = None,
    example_inputs: Any = None,
    listeners: Sequence[Listener] = (),
    progress: bool = True,
) -> Finished:
    """Build and retrain a point of a run's front without another search; judged once on test.

    It is the network that the run would have given, had this point been its best.

    Args:
        directory: The run directory; its own files stay as they are.
        point: Number of the point, as `evoprune front` shows it.
        constraints: Instead of a number, a bound such as `"macs<=0.2"`, or several: of the points that keep them the best one, by
            the first of the run's objectives that is no cost. What is relative is a share of the dense network's value.
        epochs: Number of epochs; None for that of the run's last retraining.
        lr: Peak learning rate; that of the run's retraining when None.
        out: A new or empty directory; `points/N` in the run directory when None.
        config: Further settings of `training` and `execution`.
        model: What `evolve` was called with, and so `task` and `example_inputs`; a recipe's run needs none of them.
        task: The task, with the data of the run.
        example_inputs: Inputs of one forward pass.
        listeners: Called with each event.
        progress: Whether the work is shown while it lasts, as by `evolve`.

    Raises:
        UsageError: There is no finished run of channels, no such point, `out` holds something, the data are not the run's, or a
            part of what `evolve` was called with is missing.
    """
    run = Path(directory)
    with in_python_terms(), shown(listeners, progress=progress) as told:
        resolved = finish_config(run, epochs=epochs, lr=lr, settings=config)
        choice = choose(run, resolved, point=point, constraints=one_or_more(constraints))
        problem = problem_in_hand(model, task, example_inputs)
        source: ProblemSource = finish_source(run, resolved) if problem is None else LiveSource(problem)
        target = Path(out) if out is not None else run / choice.folder
        done = finish_point(run, resolved, source, choice, target, broadcast(told))
        write_model_card(target)
    return Finished(target, choice.entry.index, done, source)
