"""`evoprune compare`: finished runs side by side, such as several seeds of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare_runs(
    directories: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of finished runs.")],
) -> None:
    """Show finished runs side by side, and what evolution gained over the best criterion in the mean of them."""
    from evoprune.cli.console import Console
    from evoprune.report.seeds import gain_text, mean_gain, read_runs, run_rows

    runs = read_runs(directories)
    metric = next(iter(runs.values())).metric
    columns = ["run", f"dense {metric.name}", "pruned", "MACs kept", "best criterion", "its network", "gain"]
    Console().show_rows("runs", columns, run_rows(runs))
    gain = mean_gain(runs)
    if gain is not None:
        typer.echo(gain_text(gain, metric))
