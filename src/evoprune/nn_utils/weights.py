"""Weights as safetensors bytes and back; no code runs on reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.mask_plan import metadata_of

COMPLEX: Final = "evoprune.complex"
"""Names, as JSON, of tensors that are written as pairs of real numbers, [..., 2]: safetensors 0.8 has complex64 alone."""

_PAIRS: Final = (torch.complex128, torch.complex32)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` by name, each shared tensor once (under its first name), contiguous and on the CPU."""
    seen: set[int] = set()
    storages: set[int] = set()
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen or not isinstance(tensor, Tensor):
            continue
        seen.add(id(tensor))
        plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        # safetensors takes no two views of one memory.
        address = plain.untyped_storage().data_ptr()
        weights[name] = plain.clone() if address in storages else plain
        storages.add(address)
    return weights


def weight_bytes(model: nn.Module) -> bytes:
    """The weights as the bytes of a safetensors file, the same for equal weights."""
    return save_tensors(weights_of(model))


def save_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Contiguous tensors as the bytes of a safetensors file, complex ones of any precision as well."""
    pairs = sorted(name for name, value in tensors.items() if value.dtype in _PAIRS)
    stored = {name: torch.view_as_real(value).clone() if name in pairs else value for name, value in tensors.items()}
    notes = {**(metadata or {}), **({COMPLEX: json.dumps(pairs)} if pairs else {})}
    return save(stored, notes or None)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        StoreCorruptedError: The file is missing, truncated or not safetensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreCorruptedError(f"can't read the weights in {path}: {error}") from error
    return parse_weights(content, str(path))


def parse_weights(content: bytes, origin: str) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file; `origin` is for the error message.

    Raises:
        StoreCorruptedError: They are truncated or not safetensors.
    """
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise StoreCorruptedError(f"can't read the weights in {origin}: {error}") from error


def load_tensors(content: bytes) -> dict[str, Tensor]:
    """What `save_tensors` was given; errors are those of whatever finds the bytes damaged."""
    tensors = load(content)
    for name in json.loads(metadata_of(content).get(COMPLEX, "[]")):
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors


def match_dtypes(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give every parameter and buffer of `model` the type that its weight has, in place; shared ones stay shared."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name in weights and weights[name].dtype != tensor.dtype:
            tensor.data = tensor.data.to(weights[name].dtype)


def put_weights(model: nn.Module, weights: dict[str, Tensor], origin: str) -> None:
    """Copy `weights` into `model`, in place.

    Args:
        model: Network of exactly these names and shapes.
        weights: Tensors by name, as from `weights_of`, or with shared tensors under each of their names.
        origin: File or step that they come from, for the error message.

    Raises:
        UsageError: Names or shapes are not those of the model, or a number would lose its imaginary part.
    """
    state = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    missing, unknown = sorted(weights_of(model).keys() - weights.keys()), sorted(weights.keys() - state.keys())
    wrong = [
        f"{name} is {list(weights[name].shape)}, the model has {list(state[name].shape)}"
        for name in state.keys() & weights.keys()
        if weights[name].shape != state[name].shape
    ]
    wrong += [
        f"{name} is complex, the model's is real"
        for name in state.keys() & weights.keys()
        if weights[name].is_complex() and not state[name].is_complex()
    ]
    problems = (
        [f"{name} is missing" for name in missing] + [f"{name} is not in the model" for name in unknown] + sorted(wrong)
    )
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(f"the weights in {origin} are of another architecture: {'; '.join(problems[:3])}{more}")
    with torch.no_grad():
        for name, value in weights.items():
            state[name].copy_(value)
