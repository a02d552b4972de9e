"""The latency tables of a run: measured when first needed, or made elsewhere, and from then on a file of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from evoprune.channels.latency.measure import INACCURATE, accuracy_text, inputs_at, measure_latency, processor_of
from evoprune.data.trees import tensors_in
from evoprune.errors import ConfigError, MeasurementError, StoreCorruptedError
from evoprune.events import Caution, Decision
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.objectives.latency_names import LatencyHow, how_of
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
        hows = {one.name: _at_batch(how_of(one.name), space.workload.samples) for one in run.measures.latencies}
        if not hows:
            return {}
        store = run.parts.store
        file = store.directory / LATENCY_FILE
        wanted = sorted(set(hows.values()), key=lambda how: (how.batch or 0, how.text))
        if _PINNED in store.manifest.pinned:
            found: Sequence[LatencyTable] = _own(file)
            if len(found) != len(wanted):
                raise StoreCorruptedError(
                    f"{file} has {len(found)} tables, the run needs {len(wanted)}", "restore the file from a copy"
                )
        else:
            with stage("latency", run.parts.notify, _what(self.path, wanted)):
                found = self._made(run, space, wanted)
            store.write(LATENCY_FILE, tables_text(found).encode())
        by_how = dict(zip(wanted, found, strict=True))
        store.pin(_PINNED, {_key(how): one.digest for how, one in by_how.items()})
        return {name: by_how[how] for name, how in hows.items()}

    def _made(self, run: OpenedRun, space: PruningSpace, hows: Sequence[LatencyHow]) -> Sequence[LatencyTable]:
        if self.path is None:
            return [self._measured(run, space, how) for how in hows]
        tables = read_tables(self.path)
        return [_suitable(tables, how, run, space, self.path) for how in hows]

    def _measured(self, run: OpenedRun, space: PruningSpace, how: LatencyHow) -> LatencyTable:
        parts = run.parts
        try:
            table = measure_latency(
                run.problem.model,
                space,
                run.problem.example_inputs,
                batch=how.batch or space.workload.samples,
                device=parts.workplace.device,
                threads=how.threads or parts.workplace.candidate_threads,
                channels_last=parts.workplace.channels_last is True,
                runtime=how.runtime,
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
    for name in (
        one for one in tables if one in measured and one in predicted and not _elsewhere(tables[one], run, how_of(one))
    ):
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
    tables: Sequence[LatencyTable], how: LatencyHow, run: OpenedRun, space: PruningSpace, path: Path
) -> LatencyTable:
    """The table of a latency, if it is of this network."""
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
    for table in tables:
        _check_axes(table, run.problem.model, where)
    found = _best(tables, how, run)
    if found is None:
        known = "; ".join(_made_for(one) for one in tables) or "none"
        raise ConfigError(
            f"{where} has no table for {_wanted_text(how)}, it has {known}",
            f"run evoprune measure with {_measure_options(how)}",
        )
    inputs = inputs_at(run.problem.model, space, run.problem.example_inputs, found.conditions.batch)
    shapes = tuple(tuple(one.shape) for one in tensors_in(inputs))
    if found.conditions.inputs != shapes:
        raise ConfigError(
            f"{where} was measured with inputs of {_shapes(found.conditions.inputs)}, the run's are {_shapes(shapes)}",
            "make a table with the example inputs of the run",
        )
    _say_differences(found, run, how)
    return found


def _check_axes(table: LatencyTable, model: nn.Module, where: str) -> None:
    """See that the widths that a table knows are of the network's tensors: a file can be edited."""
    shapes = {name: tensor.shape for name, tensor in named_tensors(model).items()}
    for tensor, dim in table.axes:
        shape = shapes.get(tensor)
        if shape is None or dim >= len(shape) or shape[dim] != table.full_width((tensor, dim)):
            what = "which the network does not have" if shape is None else f"whose shape here is {list(shape)}"
            raise ConfigError(
                f"{where} has a layer whose width is dimension {dim} of {tensor}, {what}",
                "make a table of this network with evoprune measure",
            )


def _best(tables: Sequence[LatencyTable], how: LatencyHow, run: OpenedRun) -> LatencyTable | None:
    """The table of the batch, the runtime and the threads that a latency names; of the run's threads where it names none."""
    fitting = [
        one
        for one in tables
        if (one.conditions.batch, one.conditions.runtime_name) == (how.batch, how.runtime)
        and how.threads in (None, one.conditions.threads)
    ]
    ours = run.parts.workplace.candidate_threads
    return min(fitting, key=lambda one: one.conditions.threads != ours, default=None)


def _say_differences(table: LatencyTable, run: OpenedRun, how: LatencyHow) -> None:
    made = table.conditions
    layout = "channels last" if made.channels_last else "plain layout"
    where = f"{made.processor} ({made.device}), {made.threads} threads, {layout}, {made.runtime}"
    detail = f"the table for batch {made.batch} was made elsewhere: {where}"
    if _elsewhere(table, run, how):
        run.parts.notify(
            Decision("latency", f"{detail}; networks are pruned for that, and measured here they may differ")
        )
    if table.check.median > INACCURATE:
        run.parts.notify(Caution("latency", f"{accuracy_text(table)}; bounds in milliseconds will be met no closer"))


def _elsewhere(table: LatencyTable, run: OpenedRun, how: LatencyHow | None) -> bool:
    """Whether a table is of another machine, or of the same one used in another way."""
    made, here = table.conditions, run.parts.workplace
    how = how or LatencyHow()
    eager = how.runtime == EAGER
    device = here.device if eager else torch.device("cpu")
    threads, layout = how.threads or here.candidate_threads, eager and here.channels_last is True
    ours = (device.type, processor_of(device), threads, layout, how.runtime)
    return (made.device, made.processor, made.threads, made.channels_last, made.runtime_name) != ours


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _what(path: Path | None, hows: Sequence[LatencyHow]) -> str:
    listed = "; ".join(map(_wanted_text, hows))
    return f"measuring layers at {listed}" if path is None else f"a table made elsewhere, {listed}"


def _at_batch(how: LatencyHow | None, samples: int) -> LatencyHow:
    """How a latency is measured, with the batch of the example inputs where it names none."""
    how = how or LatencyHow()
    return replace(how, batch=how.batch or samples)


def _key(how: LatencyHow) -> str:
    """Names a table in the manifest: the batch alone where nothing else is named."""
    return how.text.removeprefix("batch=")


def _wanted_text(how: LatencyHow) -> str:
    threads = "" if how.threads is None else f" with {how.threads} threads"
    return f"a batch of {how.batch}{threads}{_in(how.runtime)}"


def _made_for(table: LatencyTable) -> str:
    made = table.conditions
    return f"{made.batch} with {made.threads} threads{_in(made.runtime_name)}"


def _in(runtime: str) -> str:
    return "" if runtime == EAGER else f" in {runtime}"


def _measure_options(how: LatencyHow) -> str:
    threads = "" if how.threads is None else f" --threads {how.threads}"
    runtime = "" if how.runtime == EAGER else f" --runtime {how.runtime}"
    return f"--batch {how.batch}{threads}{runtime}"
