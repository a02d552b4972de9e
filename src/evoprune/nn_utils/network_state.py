"""What training changes in a network, taken down in one process and put back in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

_PLAIN: Final = (int, float, str, bool, complex, type(None))


@dataclass(frozen=True)
class NetworkState:
    """Tensors and plain values of a network.

    Attributes:
        tensors: `{(module, name): values}` of parameters, buffers and tensors in attributes; None of a buffer that is not there.
        values: `{(module, name): value}` of attributes that are numbers, texts and the like, the mode among them.
    """

    tensors: Mapping[tuple[str, str], Tensor | None]
    values: Mapping[tuple[str, str], Any]


def state_of(model: nn.Module) -> NetworkState:
    """Take down what training may have changed; tensors in the order of their elements, on the CPU."""
    tensors: dict[tuple[str, str], Tensor | None] = {}
    values: dict[tuple[str, str], Any] = {}
    for path, module in model.named_modules():
        own: dict[str, Any] = {**module._parameters, **module._buffers}
        for name, value in {**own, **_attributes(module)}.items():
            if isinstance(value, Tensor):
                tensors[path, name] = value.detach().contiguous().cpu()
            elif name in own:
                tensors[path, name] = None
            elif type(value) in _PLAIN:
                values[path, name] = value
    return NetworkState(tensors, values)


def put_state(model: nn.Module, state: NetworkState) -> None:
    """Put it into a network of the same structure, in place; layouts of tensors stay as they are here."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for (path, name), values in state.tensors.items():
            _put_tensor(modules[path], name, values)
    for (path, name), value in state.values.items():
        modules[path].__dict__[name] = value  # past nn.Module's own ways with attributes: these are no tensors


def _put_tensor(module: nn.Module, name: str, values: Tensor | None) -> None:
    owners: tuple[Any, ...] = (module._buffers, module._parameters)
    own = next((one for one in owners if name in one), module.__dict__)
    here = own.get(name)
    if isinstance(here, Tensor) and values is not None and here.shape == values.shape and here.dtype == values.dtype:
        here.detach().copy_(values)
    elif isinstance(here, nn.Parameter) and values is not None:
        here.data = values.to(here.device)
    else:
        own[name] = values


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {
        name: value for name, value in vars(module).items() if not name.startswith("_") or isinstance(value, Tensor)
    }
