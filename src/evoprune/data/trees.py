"""Tensors in containers of any kind: found, changed and moved by one set of functions."""

from __future__ import annotations

import copy
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

_LEAVES = (str, bytes, int, float, complex, type, nn.Module, torch.device, torch.dtype)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, dataclasses and plain objects, in a stable order, repeats included."""
    seen: set[int] = set()

    def walk(node: Any) -> Iterator[Tensor]:
        if isinstance(node, Tensor):
            yield node
        elif node is not None and not isinstance(node, _LEAVES) and id(node) not in seen:
            seen.add(id(node))
            for child in _children(node):
                yield from walk(child)

    yield from walk(tree)


def map_tensors(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """`tree` with every tensor in it changed, in containers of the same types; the given ones stay as they are.

    Containers are dicts and other mappings, lists, tuples, named tuples, packed sequences (whose batch sizes stay, for they
    belong to the CPU), dataclasses and plain objects with attributes. What holds no tensor is handed on as it is.
    """
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, PackedSequence):
        return _packed(tree, change)
    if next(tensors_in(tree), None) is None:
        return tree
    return rebuilt(tree, lambda child: map_tensors(child, change))


def moved(tree: Any, device: torch.device) -> Any:
    """`tree` with all its tensors on `device`: itself where they are there already."""
    if all(tensor.device == device for tensor in tensors_in(tree)):
        return tree
    # Memory that a loader has pinned is copied while the device goes on working.
    return map_tensors(
        tree, lambda tensor: tensor.to(device, non_blocking=device.type == "cuda" and tensor.is_pinned())
    )


def rebuilt(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A container of the same type with `change` applied to each of its children; whatever else it holds is shared with it."""
    if isinstance(tree, Mapping):
        return _mapping(tree, {key: change(value) for key, value in tree.items()}, change)
    if isinstance(tree, tuple) and hasattr(tree, "_make"):
        return tree._make(map(change, tree))
    if isinstance(tree, (list, tuple, set, frozenset)):
        return type(tree)(map(change, tree))
    if is_dataclass(tree) and not isinstance(tree, type):
        twin: Any = copy.copy(tree)
        for field in fields(tree):
            if hasattr(tree, field.name):
                object.__setattr__(twin, field.name, change(getattr(tree, field.name)))  # frozen ones, too
        return twin
    return _with_attributes(tree, change) if hasattr(tree, "__dict__") else tree


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield from node.values()
    elif isinstance(node, (list, tuple, set, frozenset)):
        yield from node
    elif is_dataclass(node):
        yield from (getattr(node, field.name) for field in fields(node) if hasattr(node, field.name))
    elif hasattr(node, "__dict__"):
        yield from vars(node).values()


def _mapping(tree: Mapping[Any, Any], changed: dict[Any, Any], change: Callable[[Any], Any]) -> Mapping[Any, Any]:
    if type(tree) is dict:
        return changed
    if isinstance(tree, (dict, UserDict)):
        # Their copies have items of their own. transformers' BatchEncoding is a UserDict, its ModelOutput an OrderedDict.
        twin: Any = copy.copy(tree)
        for key, value in changed.items():
            twin[key] = value
        replaced = {id(value): changed[key] for key, value in tree.items()}
        attributes = vars(twin) if hasattr(twin, "__dict__") else {}
        attributes.update({name: replaced[id(value)] for name, value in attributes.items() if id(value) in replaced})
        return twin  # type: ignore[no-any-return]
    twin = _with_attributes(tree, change) if getattr(tree, "__dict__", None) else None
    same = twin is not None and list(twin) == list(changed)
    return twin if same else changed


def _with_attributes(tree: Any, change: Callable[[Any], Any]) -> Any:
    twin = copy.copy(tree)
    vars(twin).update({name: change(value) for name, value in vars(tree).items()})
    return twin


def _packed(packed: PackedSequence, change: Callable[[Tensor], Any]) -> Any:
    data, sizes, order, inverse = packed
    if order is None or inverse is None:
        return PackedSequence(change(data), sizes, order, inverse)
    return PackedSequence(change(data), sizes, change(order), change(inverse))
