"""`evoprune run --dry-run`: what there would be to do, as a table or as JSON."""

from __future__ import annotations

import json

import typer
from rich.console import Console as RichConsole

from evoprune.cli.console import Console
from evoprune.config.schema import Config
from evoprune.run.factories.planned_work import PlannedWork, planned_work
from evoprune.run.problem import ProblemSource


def show_planned_work(config: Config, source: ProblemSource, *, as_json: bool) -> None:
    """Find out and show what the run would have to do."""
    console = Console(RichConsole(stderr=as_json, highlight=False))
    with console:
        plan = planned_work(config, source, console)
    if as_json:
        typer.echo(json.dumps(plan.as_json(), indent=2))
        return
    console.show_rows("plan of work", ("", "how much", "predicted time"), _rows(plan))
    typer.echo("times are predicted at the dense network's speed on this machine; pruned networks are faster")
    typer.echo("nothing was written; the same command without --dry-run begins")


def duration(seconds: float) -> str:
    """`42 s`, `7 min 30 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else "under a second"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _rows(plan: PlannedWork) -> list[tuple[str, str, str]]:
    samples = ", ".join(f"{name} {number:,}" for name, number in plan.samples.items())
    rows = [
        ("network", f"{plan.parameters:,} parameters, {plan.macs:,} MACs", ""),
        ("data", samples, ""),
        ("to choose from", plan.choice, ""),
    ]
    for name, epochs in plan.trainings.items():
        rows.append((name, f"{epochs:g} epochs", duration(plan.seconds[name])))
    sizes = [one.candidates for one in plan.generations]
    search = f"{plan.candidates} candidates in {len(sizes)} generations, {plan.workers} at a time"
    rows.append(("search", search, duration(plan.seconds["search"])))
    rows.append(("all", "", duration(sum(plan.seconds.values()))))
    return rows
