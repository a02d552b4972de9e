"""The latency tables of a run: measured when first needed, or made elsewhere, and from then on a file of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evoprune.channels.latency.measure import INACCURATE, accuracy_text, inputs_at, measure_latency, processor_of
from evoprune.data.trees import tensors_in
from evoprune.errors import ConfigError, MeasurementError, StoreCorruptedError
from evoprune.events import Caution, Decision
from evoprune.objectives.batch_names import batch_of
from evoprune.run.opened_run import OpenedRun
from evoprune.run.stopwatch import stage
from evoprune.space.latency_files import tables_of, tables_text
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import PruningSpace

LATENCY_FILE: Final = "latency.json"
_PINNED: Final = "latency"


@dataclass(frozen=True)
class LatencySource:
    """Where a run's latency tables come from.

    Attributes:
        path: File of a table made elsewhere; measured where None.
        step: Kept units of the networks that predictions are fitted to are multiples of this.
    """

    path: Path | None
    step: int

    def tables(self, run: OpenedRun, space: PruningSpace) -> dict[str, LatencyTable]:
        """The table of each latency that the run names, by the objective's name; none where it names none.

        Raises:
            ConfigError: A table made elsewhere is none, or not of this network and batch.
            StoreCorruptedError: The run's own file is missing or damaged.
            ReplayMismatchError: It is another than the run began with.
        """
        batches = {one.name: batch_of(one.name) or space.workload.samples for one in run.measures.latencies}
        if not batches:
            return {}
        store = run.parts.store
        file = store.directory / LATENCY_FILE
        wanted = sorted(set(batches.values()))
        if _PINNED in store.manifest.pinned:
            found: Sequence[LatencyTable] = _own(file)
        else:
            with stage("latency", run.parts.notify, _what(self.path, wanted)):
                found = self._made(run, space, wanted)
            store.write(LATENCY_FILE, tables_text(found).encode())
        store.pin(_PINNED, {str(one.conditions.batch): one.digest for one in found})
        by_batch = {one.conditions.batch: one for one in found}
        return {name: by_batch[batch] for name, batch in batches.items()}

    def _made(self, run: OpenedRun, space: PruningSpace, batches: Sequence[int]) -> Sequence[LatencyTable]:
        if self.path is None:
            return [self._measured(run, space, batch) for batch in batches]
        tables = read_tables(self.path)
        return [_suitable(tables, batch, run, space, self.path) for batch in batches]

    def _measured(self, run: OpenedRun, space: PruningSpace, batch: int) -> LatencyTable:
        parts = run.parts
        try:
            table = measure_latency(
                run.problem.model,
                space,
                run.problem.example_inputs,
                batch=batch,
                device=parts.workplace.device,
                threads=parts.workplace.candidate_threads,
                channels_last=parts.workplace.channels_last is True,
                step=self.step,
                seeds=parts.seeds.child("latency"),
                notify=parts.notify,
            )
        except MeasurementError as error:
            raise ConfigError(error.message, error.hint) from error
        if table.check.median <= INACCURATE:
            parts.notify(Decision("latency", accuracy_text(table)))
        return table


def read_tables(path: Path) -> tuple[LatencyTable, ...]:
    """Tables that somebody has made.

    Raises:
        ConfigError: The file is missing, or holds something else.
    """
    try:
        return tables_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"search.latency_table: {path} is no latency table: {error}", "make one with evoprune measure"
        ) from error


def check_finished(
    run: OpenedRun, tables: Mapping[str, LatencyTable], predicted: Mapping[str, float], measured: Mapping[str, float]
) -> None:
    """Say how far the prediction of the finished network is from what it takes here.

    Args:
        run: The run.
        tables: Its latency tables, by the objectives' names.
        predicted: What they say of the finished network.
        measured: What it took.
    """
    for name in (one for one in tables if one in measured and one in predicted and not _elsewhere(tables[one], run)):
        error = abs(predicted[name] - measured[name]) / measured[name]
        guess, found = predicted[name], measured[name]
        detail = f"{guess:.4g} ms were predicted for the finished network, {found:.4g} ms measured, {error:.1%} off"
        run.parts.notify(Caution(name, detail) if error > INACCURATE else Decision(name, detail))


def _own(file: Path) -> tuple[LatencyTable, ...]:
    try:
        return tables_of(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"can't read {file}: {error}", "restore the file from a copy") from error


def _suitable(
    tables: Sequence[LatencyTable], batch: int, run: OpenedRun, space: PruningSpace, path: Path
) -> LatencyTable:
    """The table of a batch, if it is of this network."""
    where = f"search.latency_table: {path}"
    if any(one.fingerprint != space.fingerprint for one in tables):
        raise ConfigError(
            f"{where} was measured for another network: one of other layers or widths",
            "make a table of this one with evoprune measure",
        )
    others = [group.name for group in space.groups if any(group.name not in one.groups for one in tables)]
    if others:
        raise ConfigError(
            f"{where} was measured while {others[0]} stayed as it is, which the run prunes",
            "make a table of the whole network with evoprune measure",
        )
    found = next((one for one in tables if one.conditions.batch == batch), None)
    if found is None:
        known = ", ".join(str(one.conditions.batch) for one in tables) or "none"
        raise ConfigError(
            f"{where} has no table for a batch of {batch}, it has {known}", f"run evoprune measure with --batch {batch}"
        )
    inputs = inputs_at(run.problem.model, space, run.problem.example_inputs, batch)
    shapes = tuple(tuple(one.shape) for one in tensors_in(inputs))
    if found.conditions.inputs != shapes:
        raise ConfigError(
            f"{where} was measured with inputs of {_shapes(found.conditions.inputs)}, the run's are {_shapes(shapes)}",
            "make a table with the example inputs of the run",
        )
    _say_differences(found, run)
    return found


def _say_differences(table: LatencyTable, run: OpenedRun) -> None:
    made = table.conditions
    layout = "channels last" if made.channels_last else "plain layout"
    how = f"{made.processor} ({made.device}), {made.threads} threads, {layout}, {made.runtime}"
    detail = f"the table for batch {made.batch} was made elsewhere: {how}"
    if _elsewhere(table, run):
        run.parts.notify(
            Decision("latency", f"{detail}; networks are pruned for that, and measured here they may differ")
        )
    if table.check.median > INACCURATE:
        run.parts.notify(Caution("latency", f"{accuracy_text(table)}; bounds in milliseconds will be met no closer"))


def _elsewhere(table: LatencyTable, run: OpenedRun) -> bool:
    """Whether a table is of another machine, or of the same one used in another way."""
    made, here = table.conditions, run.parts.workplace
    ours = (here.device.type, processor_of(here.device), here.candidate_threads, here.channels_last is True, "eager")
    return (made.device, made.processor, made.threads, made.channels_last, made.runtime) != ours


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _what(path: Path | None, batches: Sequence[int]) -> str:
    listed = ", ".join(map(str, batches))
    return f"measuring layers at batch {listed}" if path is None else f"a table made elsewhere, batch {listed}"
