"""Plain data as JSON: numbers, text, containers of them, and tensors, which are named by their digest and kept elsewhere."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

_LONGEST_INT: Final = 4096
"""In bits; Python writes no integers that are much longer."""

Copies = Mapping[str, list[Tensor]]
"""By digest, one for each place that a document names it in."""


class NotPlainError(TypeError):
    """A value is no plain data: an object, a function, a module, a tensor that shares the memory of a weight."""


def encode(value: Any, tensors: dict[str, Tensor], *, shared: Collection[int] = ()) -> Any:
    """`value` as a JSON value from which `decode` makes an equal one of the same types.

    None, bools, integers, finite floats, text and lists stand for themselves; all else is an object with one key, its kind.

    Args:
        value: Anything.
        tensors: Gets the tensors in it, by digest.
        shared: Addresses of memory that belongs to the weights; a tensor there is part of them and no data of its own.

    Raises:
        NotPlainError: It isn't, or something in it isn't.
    """
    try:
        return _Encoder(tensors, shared).encode(value)
    except RecursionError as error:
        raise NotPlainError("it contains itself, or is nested too deep") from error


def decode(document: Any, copies: Copies) -> Any:
    """The value that `encode` was given.

    Args:
        document: Value that `encode` returned.
        copies: Loses the tensors that are in the value now.

    Raises:
        ValueError: The document is none of `encode`'s, or names a tensor that isn't there.
    """
    try:
        return _decode(document, copies)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def digests_in(document: Any) -> Iterator[str]:
    """The digests of all tensors in what `encode` returned, each as often as it is named, in the order of `decode`."""
    if isinstance(document, list):
        for item in document:
            yield from digests_in(item)
    elif isinstance(document, dict):
        for tag, content in document.items():
            if tag == "tensor":
                yield content[0]
            else:
                yield from digests_in(content)


def digest_of(tensor: Tensor) -> str:
    """SHA-256 over type, shape and values."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    digest = hashlib.sha256(f"{tensor.dtype}{list(tensor.shape)}".encode())
    digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


class _Encoder:
    def __init__(self, tensors: dict[str, Tensor], shared: Collection[int]) -> None:
        self._tensors, self._shared = tensors, shared

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, str) or (kind is int and value.bit_length() <= _LONGEST_INT):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.encode(item) for item in value]
        if kind in (Tensor, nn.Parameter):
            return {"tensor": [self._kept(value), value.requires_grad and value.is_leaf, kind is nn.Parameter]}
        write = _WRITERS.get(kind) or (_WRITERS[np.generic] if isinstance(value, np.generic) else None)
        if write is None:
            raise NotPlainError(f"a {kind.__name__} is no plain data")
        tag, content = write(value)
        return {tag: self.encode(content) if isinstance(content, (list, Tensor)) else content}

    def _kept(self, tensor: Tensor) -> str:
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
            raise NotPlainError("a tensor without numbers of its own is no plain data")
        if tensor.numel() and tensor.untyped_storage().data_ptr() in self._shared:
            raise NotPlainError("a tensor shares the memory of a weight")
        digest = digest_of(tensor)
        self._tensors.setdefault(digest, tensor.detach())
        return digest


def _array(value: Any) -> tuple[str, Any]:
    try:
        tensor = torch.from_numpy(np.array(value))
    except TypeError as error:  # text, objects, dates
        raise NotPlainError(str(error)) from error
    return ("array" if isinstance(value, np.ndarray) else "scalar"), tensor


_WRITERS: Final[dict[type, Callable[[Any], tuple[str, Any]]]] = {
    tuple: lambda value: ("tuple", list(value)),
    torch.Size: lambda value: ("size", list(value)),
    set: lambda value: ("set", sorted(value, key=repr)),
    frozenset: lambda value: ("frozenset", sorted(value, key=repr)),
    dict: lambda value: ("dict", [[key, item] for key, item in value.items()]),
    OrderedDict: lambda value: ("ordered", [[key, item] for key, item in value.items()]),
    complex: lambda value: ("complex", [value.real, value.imag]),
    range: lambda value: ("range", [value.start, value.stop, value.step]),
    bytes: lambda value: ("bytes", value.hex()),
    torch.dtype: lambda value: ("dtype", str(value).removeprefix("torch.")),
    # Wherever a network lay, it comes back on the CPU.
    torch.device: lambda value: ("device", "cpu"),
    np.ndarray: _array,
    np.generic: _array,
}


def _decode(document: Any, copies: Copies) -> Any:
    if document is None or type(document) in (bool, int, str):
        return document
    if type(document) is float and math.isfinite(document):
        return document
    if type(document) is list:
        return [_decode(item, copies) for item in document]
    ((tag, content),) = document.items()
    return _tensor(content, copies) if tag == "tensor" else _READERS[tag](_decode(content, copies))


def _tensor(content: Any, copies: Copies) -> Tensor:
    digest, requires_grad, parameter = content
    if type(requires_grad) is not bool or type(parameter) is not bool:
        raise TypeError("a tensor's kind is no bool")
    value = copies[digest].pop()
    return nn.Parameter(value, requires_grad) if parameter else value.requires_grad_(requires_grad)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name) if name.isidentifier() else None
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{name!r} is no dtype")
    return found


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
    "tuple": tuple,
    "size": torch.Size,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "ordered": OrderedDict,
    "complex": lambda parts: complex(*parts),
    "range": lambda parts: range(*parts),
    "bytes": bytes.fromhex,
    "dtype": _dtype,
    "device": torch.device,
    "array": lambda tensor: tensor.numpy(),
    "scalar": lambda tensor: tensor.numpy()[()],
}
