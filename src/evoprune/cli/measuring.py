"""What `evoprune measure` does: from the name of a network to a file of latency tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from evoprune.channels.analyze import analyze
from evoprune.channels.latency.measure import accuracy_text, measure_latency
from evoprune.cli.inspected import load_inspected
from evoprune.data.trees import moved
from evoprune.display.printable import printable
from evoprune.errors import ConfigError, MeasurementError, UnsupportedModelError, UsageError
from evoprune.events import Listener
from evoprune.nn_utils.layouts import arranged
from evoprune.nn_utils.runtimes.choice import runtime_of
from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.run.workplace import resolve_device
from evoprune.space.latency_files import tables_of, tables_text
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import nothing_to_prune
from evoprune.store.atomic import write_atomically


def may_write(out: Path) -> None:
    """See that nothing is lost by writing a table there.

    Raises:
        UsageError: There is something that is no latency table.
    """
    if not out.exists():
        return
    try:
        tables_of(out.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{out} is there already and is no latency table", "choose another --out") from error


def measure_tables(
    name: str,
    *,
    batches: Sequence[int] | None,
    threads: int,
    runtimes: Sequence[str] | None,
    device_name: str,
    channels_last: bool,
    out: Path,
    data_dir: Path | None,
    notify: Listener,
) -> list[str]:
    """Measure a table for each batch in each runtime and write them; gives what to tell.

    Args:
        name: A recipe, or `package.module:function`.
        batches: Samples in a pass; those of the example inputs where None.
        threads: Number of threads.
        runtimes: What runs the network; PyTorch as it is where None.
        device_name: Device to measure on; other runtimes than PyTorch have their own.
        channels_last: Whether convolutions are channels last.
        out: File to write.
        data_dir: The user's own copy of the recipe's data.
        notify: Called with what the user has to know.

    Raises:
        ConfigError: A device or runtime is not there, or the example inputs can't be repeated to a batch.
        MissingDependencyError: A runtime is not installed.
        UnsupportedModelError: Nothing can be pruned from the network.
    """
    for runtime in runtimes or ():
        runtime_of(runtime)
    device = resolve_device(device_name, setting="--device")
    loaded = load_inspected(name, data_dir, None)
    space = analyze(loaded.model, loaded.example_inputs, outputs=None if loaded.task is None else loaded.task.outputs)
    if not space.groups:
        raise UnsupportedModelError(nothing_to_prune(space))
    model = arranged(loaded.model.to(device), channels_last=channels_last)
    tables = []
    wanted = itertools.product(dict.fromkeys(runtimes or [EAGER]), sorted(set(batches or [space.workload.samples])))
    for runtime, batch in wanted:
        try:
            table = measure_latency(
                model,
                space,
                moved(loaded.example_inputs, device),
                batch=batch,
                device=device,
                threads=threads,
                runtime=runtime,
                channels_last=channels_last,
                notify=notify,
            )
        except MeasurementError as error:
            raise ConfigError(error.message, error.hint) from error
        tables.append(table)
    write_atomically(out, tables_text(tables).encode())
    return list(_told(tables, out))


def _told(tables: Sequence[LatencyTable], out: Path) -> Iterator[str]:
    for table in tables:
        conditions = table.conditions
        yield printable(
            f"batch {conditions.batch}: {table.dense_ms:.4g} ms dense on {conditions.processor} ({conditions.device}), "
            f"{conditions.threads} threads, {conditions.runtime}; {accuracy_text(table)}"
        )
    yield printable(f"everything is in {out}; a run uses it by --set search.latency_table={out}")
