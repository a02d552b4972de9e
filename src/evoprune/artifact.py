"""Weights as safetensors bytes and back; no code runs on reading."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from evoprune.errors import StoreCorruptedError, UsageError


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` by name, each shared tensor once (under its first name), contiguous and on the CPU."""
    seen: set[int] = set()
    storages: set[int] = set()
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen or not isinstance(tensor, Tensor):
            continue
        seen.add(id(tensor))
        plain = tensor.detach().to("cpu").contiguous()
        # safetensors takes no two views of one memory.
        address = plain.untyped_storage().data_ptr()
        weights[name] = plain.clone() if address in storages else plain
        storages.add(address)
    return weights


def weight_bytes(model: nn.Module) -> bytes:
    """The weights as the bytes of a safetensors file, the same for equal weights."""
    return save(weights_of(model))


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
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise StoreCorruptedError(f"can't read the weights in {origin}: {error}") from error


def put_weights(model: nn.Module, weights: dict[str, Tensor], origin: str) -> None:
    """Copy `weights` into `model`, in place.

    Args:
        model: Network of exactly these names and shapes.
        weights: As `weights_of` gives them, or with shared tensors under each of their names.
        origin: Where they come from, for the error message.

    Raises:
        UsageError: Names or shapes are not those of the model.
    """
    state = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    missing, unknown = sorted(weights_of(model).keys() - weights.keys()), sorted(weights.keys() - state.keys())
    wrong = [
        f"{name} is {list(weights[name].shape)}, the model has {list(state[name].shape)}"
        for name in state.keys() & weights.keys()
        if weights[name].shape != state[name].shape
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
