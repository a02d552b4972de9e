"""`evoprune measure`: a table of a network's latency, for runs here or on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.inspect_command import ModelArgument


def measure_model(
    model: ModelArgument,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Samples in a forward pass; repeatable. Of the example inputs if left out."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    runtime: Annotated[
        list[str] | None, typer.Option(help="What runs the network: eager (the default) or onnxruntime; repeatable.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "auto",
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Convolutions channels last.")] = False,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("latency.json"),
    data_dir: Annotated[Path | None, typer.Option(help="Your own copy of the recipe's data.")] = None,
) -> None:
    """Measure the layers of a network at several widths, so that the latency of what a run prunes can be predicted.

    A run with --set search.latency_table=FILE prunes for the machine that the file was made on.
    """
    from evoprune.cli.console import Console
    from evoprune.cli.measuring import may_write, measure_tables

    may_write(out)
    console = Console()
    with console:
        lines = measure_tables(
            model,
            batches=batch,
            threads=threads,
            runtimes=runtime,
            device_name=device,
            channels_last=channels_last,
            out=out,
            data_dir=data_dir,
            notify=console,
        )
    for line in lines:
        typer.echo(line)
