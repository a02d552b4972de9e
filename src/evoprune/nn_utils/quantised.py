"""Networks whose weights are quantised already: integers, or packed away where neither surgery nor training reaches them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from evoprune.errors import UnsupportedModelError

_BYTES: Final = (torch.int8, torch.uint8)
_FLOATS_OF_8_BITS: Final = tuple(
    getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
)
_PACKS: Final = frozenset(
    (
        "LinearPackedParamsBase",
        "Conv2dPackedParamsBase",
        "Conv3dPackedParamsBase",
        "EmbeddingPackedParamsBase",
        "CellParamsBase",
    )
)
_PACKED_BUFFERS: Final = frozenset({"qweight", "weight_packed"})
"""What layers of GPTQ, AWQ and the like call their weights."""


def require_unquantised(model: nn.Module) -> None:
    """Accept models whose weights are ordinary numbers.

    Raises:
        UnsupportedModelError: A layer's weights are quantised.
    """
    for name, module in model.named_modules():
        how = _how_quantised(module)
        if how:
            raise UnsupportedModelError(
                f"{name.removesuffix('._packed_params') or 'the model'} is quantised already: {how}",
                "prune the model of floating-point weights, and quantise the pruned one",
            )


def packed_weights(model: nn.Module) -> list[Tensor]:
    """Weights and biases that torch keeps in packed form, which are neither parameters nor buffers."""
    return [tensor for module in model.modules() for packed in _packs(module) for tensor in unpacked(packed)]


def _how_quantised(module: nn.Module) -> str:
    if _packs(module):
        return "its weights are packed integers"
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    for name, tensor in own.items():
        if is_traceable_wrapper_subclass(tensor):
            return f"its {name} is a {type(tensor).__name__}"
        if _is_quantised(name, tensor, own):
            return f"its {name} is of type {str(tensor.dtype).removeprefix('torch.')}"
    return ""


def _is_quantised(name: str, tensor: Tensor, siblings: Iterable[str]) -> bool:
    if tensor.is_quantized or tensor.dtype in _FLOATS_OF_8_BITS:
        return True
    if tensor.dim() < 2 or tensor.is_floating_point():
        return False
    if isinstance(tensor, nn.Parameter):
        return tensor.dtype in _BYTES
    # A buffer of integers may as well be a mask, positions or a picture.
    scaled = any("scale" in sibling for sibling in siblings)
    return name in _PACKED_BUFFERS or (tensor.dtype in _BYTES and (scaled or "weight" in name))


def _packs(module: nn.Module) -> list[Any]:
    """What torch's own quantised layers hold instead of parameters."""
    return [value for value in vars(module).values() if _is_pack(value)]


def _is_pack(value: Any) -> bool:
    if not isinstance(value, torch.ScriptObject):
        return False
    kind: Any = value._type()
    return kind.name() in _PACKS


def unpacked(value: Any) -> Iterator[Tensor]:
    """The tensors in something packed, or in a tree of such."""
    if isinstance(value, Tensor):
        yield value
    elif _is_pack(value):
        yield from unpacked(value.unpack() if hasattr(value, "unpack") else _parts(value))
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from unpacked(one)


def _parts(cell: Any) -> list[Any]:
    """A recurrent layer holds packed matrices, each with its bias, and the biases once more."""
    state = list(_leaves(cell.__getstate__()))
    return [one for one in state if _is_pack(one)] or state


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (tuple, list)):
        for one in tree:
            yield from _leaves(one)
    else:
        yield tree
