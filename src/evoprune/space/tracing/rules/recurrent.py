"""LSTM, GRU and plain recurrent layers: a hidden unit goes from all gates, layers and directions at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.labels import Vector
from evoprune.space.tracing.rules.call import Call
from evoprune.space.tracing.rules.sizes import follow_width

_STATE = "shares its state with a tensor of fixed size"


def recurrent(call: Call, module: nn.RNNBase) -> None:
    """A whole `nn.LSTM`, `nn.GRU` or `nn.RNN`."""
    cells = [
        [f"l{layer}{end}" for end in (("", "_reverse") if module.bidirectional else ("",))]
        for layer in range(module.num_layers)
    ]
    suffixes = [f"_{cell}" for layer in cells for cell in layer]
    if module.proj_size or not _plain(call, module, suffixes):
        _refuse(call)
        return
    source, *states = call.operands
    units = _hidden_units(call, module, suffixes)
    for tensor in states:
        _tie_state(call, tensor, units)
    reads = _last_label(call, source)
    for number, layer in enumerate(cells):
        for cell in layer:
            weight = getattr(module, f"weight_ih_{cell}")
            active = call.labels(source).active if number == 0 else True
            call.contract((reads, active), (call.dims(weight).get(1), False), weight.shape[1])
        reads = None if units is None else np.tile(units, len(layer))
    outputs = list(tensors_in(call.result))
    if units is not None and reads is not None:
        call.put({outputs[0].dim() - 1: reads}, outputs[0], active=True)
        for tensor in outputs[1:]:
            if tensor.is_floating_point():
                call.put({tensor.dim() - 1: units}, tensor, active=True)


def recurrent_cell(call: Call, module: nn.RNNCellBase) -> None:
    """One step of an `nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell`."""
    if not _plain(call, module, [""]):
        _refuse(call)
        return
    source, *states = call.operands
    units = _hidden_units(call, module, [""])
    for tensor in states:
        _tie_state(call, tensor, units)
    weight = module.weight_ih
    call.contract(
        (_last_label(call, source), call.labels(source).active), (call.dims(weight).get(1), False), weight.shape[1]
    )
    for tensor in tensors_in(call.result):
        if units is not None:
            call.put({tensor.dim() - 1: units}, tensor, active=True)


def _weights(module: nn.Module, suffixes: list[str]) -> Iterator[tuple[str, Tensor]]:
    for suffix in suffixes:
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            tensor = getattr(module, kind + suffix, None)
            if isinstance(tensor, Tensor):
                yield kind, tensor


def _plain(call: Call, module: nn.Module, suffixes: list[str]) -> bool:
    """Whether all weights are parameters of the model, as they are without a parametrization."""
    return all(call.tracer.is_named(tensor) for _, tensor in _weights(module, suffixes))


def _refuse(call: Call) -> None:
    for tensor in call.operands:
        call.freeze_dims(call.dims(tensor), "is used in a way evoprune has no rule for,")


def _hidden_units(call: Call, module: Any, suffixes: list[str]) -> Vector | None:
    """Tie all gates, layers and directions; -> [hidden size] atoms, None for a single unit."""
    hidden = int(module.hidden_size)
    if hidden <= 1:
        return None
    units: Vector = call.dims(getattr(module, f"weight_hh{suffixes[0]}"))[1]
    reason = f"is fixed in {call.where}"
    for kind, tensor in _weights(module, suffixes):
        dims = call.dims(tensor)
        rows = dims[0].reshape(-1, hidden)
        call.couplings.tie(np.tile(units, len(rows)), rows.ravel(), reason)
        if kind == "weight_hh":
            call.couplings.tie(units, dims[1], reason)
            call.couplings.consumed.append(dims[1])
    call.produce(units, "recurrent")
    return units


def _last_label(call: Call, tensor: Tensor) -> Vector | None:
    dims = call.dims(tensor)
    atoms = dims.pop(tensor.dim() - 1, None)
    call.freeze_dims(dims, "is iterated over")
    return atoms


def _tie_state(call: Call, tensor: Tensor, units: Vector | None) -> None:
    if units is None or not tensor.is_floating_point() or tensor.dim() == 0:
        return
    atoms = _last_label(call, tensor)
    if atoms is None and (maker := call.tracer.maker(tensor)) is not None:
        follow_width(call, maker, units)
    elif atoms is None:
        call.freeze(units, _STATE)
    else:
        call.couplings.tie(atoms, units, f"{_STATE} in {call.where}")
