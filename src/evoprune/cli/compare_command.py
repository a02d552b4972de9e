"""`evoprune compare`: finished runs side by side, such as several seeds of one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import AsJson


def compare_runs(
    directories: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of finished runs.")],
    as_json: AsJson = False,
) -> None:
    """Show finished runs side by side, and what evolution gained over the best criterion in the mean of them."""
    from evoprune.report.seeds import gain_text, mean_gain, read_runs, run_rows

    runs = read_runs(directories)
    gain = mean_gain(runs)
    if as_json:
        found = {str(directory): one.to_json() for directory, one in runs.items()}
        typer.echo(json.dumps({"runs": found, "gain": None if gain is None else asdict(gain)}, indent=2))
        return
    from evoprune.cli.console import Console

    metric = next(iter(runs.values())).metric
    columns = ["run", f"dense {metric.name}", "pruned", "MACs kept", "best criterion", "its network", "gain"]
    Console().show_rows("runs", columns, run_rows(runs))
    if gain is not None:
        typer.echo(gain_text(gain, metric))
