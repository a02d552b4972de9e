"""`evoprune inspect`: what can be pruned from a model, what can't and why, and what that would save."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evoprune.errors import UsageError
from evoprune.events import AnalysisProgress, Event

if TYPE_CHECKING:
    from torch import nn

    from evoprune.data.task import Task
    from evoprune.space.pruning_space import PruningSpace

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A recipe, or package.module:function that returns (model, example_inputs), or a recipe's triple with a Task; "
        "timm:NAME, hf:CONFIG_CLASS and ultralytics:FILE.yaml where those packages are installed.",
    ),
]


def inspect_model(
    model: ModelArgument,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Measure the accuracy lost when half of each group goes; needs a Task."),
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights: .safetensors, or a .pth state dict.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Names to leave as they are; repeatable.")
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What you use of the outputs: logits, 0, 1.boxes or package.module:function; repeatable.",
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Your own copy of the recipe's data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Show what can be pruned, what can't and why, and the predicted cost at three keep ratios."""
    from evoprune.channels.analyze import analyze
    from evoprune.cli.inspected import load_inspected
    from evoprune.report.inspection import inspect_space
    from evoprune.results import ACCURACY
    from evoprune.space.pruning_space import nothing_to_prune

    loaded = load_inspected(model, data_dir, checkpoint)
    if sensitivity and loaded.task is None:
        raise UsageError(
            f"{model} comes without a Task to measure accuracy with", "return (model, evoprune.Task, example_inputs)"
        )
    used = outputs or (None if loaded.task is None else loaded.task.outputs)
    space = analyze(loaded.model, loaded.example_inputs, exclude=exclude or (), outputs=used, listen=_say)
    measured = _measure(loaded.model, space, loaded.task) if sensitivity and loaded.task is not None else {}
    inspection = inspect_space(loaded.model, space, loaded.example_inputs, measured.get("lost"))
    notes = [*([] if space.groups else [nothing_to_prune(space)]), *loaded.notes(measured.get("dense"))]
    metric = ACCURACY if loaded.task is None else loaded.task.card
    if as_json:
        extra = {"model": model, "select_accuracy": measured.get("dense"), "notes": notes, "metric": metric.to_json()}
        typer.echo(json.dumps(extra | inspection.as_json(), indent=2))
        return
    from evoprune.cli.inspection_tables import show

    show(model, inspection, measured.get("dense"), notes, metric)


def _say(event: Event) -> None:
    """A line about an analysis that takes long, where someone watches."""
    if sys.stderr.isatty() and isinstance(event, AnalysisProgress):
        typer.echo(
            f"analysing for {event.seconds:.0f} s: {event.passes} forward passes, {event.groups} groups left, "
            f"{event.frozen} frozen by the self-check",
            err=True,
        )


def _measure(model: nn.Module, space: PruningSpace, task: Task) -> dict[str, Any]:
    from evoprune.report.sensitivity import select_accuracy, sensitivity

    dense = select_accuracy(model, task)
    return {"dense": dense, "lost": dict(sensitivity(model, space, task, dense))}
