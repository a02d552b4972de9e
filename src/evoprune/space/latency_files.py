"""Latency tables as the text of `latency.json`, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from evoprune.space.latency_grid import Grid
from evoprune.space.latency_table import Check, Conditions, LatencyTable, Overhead, TimedLayer

FORMAT: Final = 1


def tables_text(tables: Sequence[LatencyTable]) -> str:
    """The content of `latency.json`."""
    return json.dumps({"format": FORMAT, "tables": [one.to_json() for one in tables]}, indent=1) + "\n"


def tables_of(text: str) -> tuple[LatencyTable, ...]:
    """Read what `tables_text` wrote.

    Raises:
        ValueError: It is something else, or was written by a newer evoprune.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or "tables" not in document:
        raise ValueError("it has no tables")
    if document.get("format") != FORMAT:
        raise ValueError(f"its format is {document.get('format')!r:.20}, this evoprune reads {FORMAT}")
    if not isinstance(document["tables"], list):
        raise ValueError("its tables are no list")
    return tuple(read_table(one) for one in document["tables"])


def read_table(document: Mapping[str, Any]) -> LatencyTable:
    """Read what `LatencyTable.to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        return _read(document)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(document: Mapping[str, Any]) -> LatencyTable:
    conditions = dict(document["conditions"])
    conditions["inputs"] = tuple(tuple(map(int, shape)) for shape in conditions["inputs"])
    table = LatencyTable(
        fingerprint=str(document["fingerprint"]),
        groups=tuple(map(str, document["groups"])),
        conditions=Conditions(**conditions),
        grids=tuple(map(_read_grid, document["grids"])),
        layers=tuple(map(_read_layer, document["layers"])),
        overhead=Overhead(**_numbers(document["overhead"])),
        check=Check(*(tuple(map(_number, document["check"][key])) for key in ("predicted_ms", "measured_ms"))),
        dense_ms=_number(document["dense_ms"]),
        repeats=int(document["repeats"]),
        spread=_number(document["spread"]),
    )
    for layer in table.layers:
        if not 0 <= layer.grid < len(table.grids) or len(layer.axes) != len(table.grids[layer.grid].nodes):
            raise ValueError(f"layer {layer.name!r} has no such grid")
        if layer.output is not None and not 0 <= layer.output < len(layer.axes):
            raise ValueError(f"layer {layer.name!r} has no such dimension")
    if not table.check.measured_ms or len(table.check.predicted_ms) != len(table.check.measured_ms):
        raise ValueError("its check has no prediction for each measured network")
    if not table.dense_ms or not all(table.check.measured_ms):
        raise ValueError("a measured network takes no time")
    return table


def _read_grid(document: Mapping[str, Any]) -> Grid:
    nodes = tuple(tuple(map(int, one)) for one in document["nodes"])
    if not all(one and one[0] >= 0 and (np.diff(one) > 0).all() for one in nodes):
        raise ValueError("nodes of a grid must increase")
    ms = np.array([_number(one) for one in document["ms"]]).reshape([len(one) for one in nodes])
    return Grid(nodes, ms, _number(document["spread"]))


def _read_layer(document: Mapping[str, Any]) -> TimedLayer:
    axes = tuple((str(tensor), int(dim)) for tensor, dim in document["axes"])
    output = document["output"]
    return TimedLayer(
        str(document["name"]),
        axes,
        int(document["grid"]),
        int(document["elements"]),
        None if output is None else int(output),
    )


def _numbers(document: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value) for name, value in document.items()}


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r:.30} is no number of at least 0")
    return float(value)
