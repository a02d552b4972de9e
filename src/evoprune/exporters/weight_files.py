"""Weights alone, by name: for whoever builds the network himself."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from evoprune.exporters.base import Exportable, Runner
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.weights import put_weights, read_weights, weight_bytes


class SafetensorsFile:
    """A safetensors file: no code runs when it is read; a shared weight stands under its first name."""

    suffix = ".safetensors"
    needs_inputs = False

    def write(self, network: Exportable, path: Path) -> None:
        """Write the weights."""
        path.write_bytes(weight_bytes(network.model))

    def read(self, network: Exportable, path: Path) -> Runner:
        """A copy of the network with the file's weights."""
        copied = emptied(network.model)
        put_weights(copied, read_weights(path), str(path))
        return LoadedNetwork(copied)


class StateDictFile:
    """A file of `torch.save`, as `torch.load(path, weights_only=True)` and `load_state_dict` take it."""

    suffix = ".pth"
    needs_inputs = False

    def write(self, network: Exportable, path: Path) -> None:
        """Write the state dict."""
        torch.save(network.model.state_dict(), path)

    def read(self, network: Exportable, path: Path) -> Runner:
        """A copy of the network with the file's weights."""
        copied = emptied(network.model)
        copied.load_state_dict(torch.load(path, weights_only=True))  # noqa: TID251 - weights alone, just written
        return LoadedNetwork(copied)


class LoadedNetwork(nn.Module):
    """A network that takes its inputs as `example_inputs` are given; its state dict is that of the network.

    Args:
        network: The network, in eval mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.forward = partial(call_model, network)
        self.state_dict = network.state_dict  # type: ignore[method-assign]


def emptied(model: nn.Module) -> nn.Module:
    """A copy whose state is all zeros: what is right after reading came from the file."""
    copied = clone(model)
    with torch.no_grad():
        for tensor in copied.state_dict().values():
            if isinstance(tensor, torch.Tensor):
                tensor.zero_()
    return copied.eval()
