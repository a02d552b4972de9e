"""The expression that makes one of torch's layers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, Final

from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.rng import isolated_rng

_SAID_BY_A_PARAMETER: Final = ("bias",)
"""Arguments of yes or no that a layer keeps as a parameter or None."""


def layer_source(name: str, layer: nn.Module) -> str:
    """Such as `nn.Conv2d(3, 12, kernel_size=(3, 3), bias=False)`; arguments at their defaults are left out.

    Args:
        name: Name of the layer, for the message.
        layer: Any module.

    Raises:
        UnsupportedModelError: It isn't one of torch's, or what it is doesn't follow from arguments.
    """
    kind = type(layer)
    if getattr(nn, kind.__name__, None) is not kind:
        raise UnsupportedModelError(
            f"{name} is a {kind.__name__}, which is no layer of torch and can't be written as source",
            "use torch-export or onnx, which need no source either",
        )
    source = f"nn.{kind.__name__}({', '.join(_arguments(layer))})"
    if not _makes_such(source, layer):
        raise UnsupportedModelError(
            f"{name}: what this {kind.__name__} is doesn't follow from its arguments, so that it can't be written as source",
            "use torch-export or onnx, which need no source either",
        )
    return source


def _arguments(layer: nn.Module) -> Iterator[str]:
    by_place = True
    for parameter in inspect.signature(type(layer).__init__).parameters.values():
        if parameter.name in ("self", "device", "dtype") or not hasattr(layer, parameter.name):
            by_place = by_place and parameter.name == "self"
            continue
        value: Any = getattr(layer, parameter.name)
        if parameter.name in _SAID_BY_A_PARAMETER and not isinstance(value, bool):
            value = value is not None
        needed = parameter.default is parameter.empty
        if needed and by_place:
            yield repr(value)
        elif needed or not _is_default(value, parameter.default):
            by_place = False
            yield f"{parameter.name}={value!r}"


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is its default, as `(1, 1)` is 1: the layer tells if not."""
    return value == default or (isinstance(value, tuple) and set(value) == {default})


def _makes_such(source: str, layer: nn.Module) -> bool:
    """Whether the expression, of literals alone, makes a layer with such settings and tensors."""
    try:
        call = ast.parse(source, mode="eval").body
        assert isinstance(call, ast.Call)
        positional = [ast.literal_eval(one) for one in call.args]
        named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
        with isolated_rng(0):
            built = type(layer)(*positional, **named)
    except (ValueError, TypeError, AssertionError, SyntaxError):
        return False
    return _described(built) == _described(layer) and not layer._forward_hooks and not layer._forward_pre_hooks


def _described(layer: nn.Module) -> tuple[str, dict[str, tuple[int, ...]]]:
    return repr(layer), {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
