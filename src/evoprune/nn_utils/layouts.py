"""Channels last or not: whether a network runs either way, gives the same gradients, and which way is faster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from evoprune.data.batches import Batch
from evoprune.metrics.losses import Loss, loss_value
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.cloning import clone
from evoprune.rng import isolated_rng

ROUNDS: Final = 5
LONG_S: Final = 10.0
"""After so many seconds of measuring, one round has to do."""
SAME: Final = 1e-2
"""Difference of two gradients, as a share of the largest entry, that rounding can't explain: that comes to 1e-5."""


@dataclass(frozen=True)
class Convolutions:
    """What a forward pass does with images.

    Attributes:
        macs: Multiply-accumulates of all convolutions, for the whole batch.
        strided_pointwise: The first 1x1 convolution with a stride, in words; empty where there is none.
    """

    macs: int
    strided_pointwise: str


def convolutions_of(model: nn.Module, inputs: Any) -> Convolutions:
    """Watch one forward pass of a copy, in eval mode.

    Raises:
        Exception: Whatever the network raises.
    """
    watch = _Watch()
    with torch.no_grad(), isolated_rng(0), watch:
        call_model(clone(model).eval(), inputs)
    return Convolutions(watch.macs, watch.strided_pointwise)


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.macs, self.strided_pointwise = 0, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as asked, and look at convolutions of images."""
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default and args[0].dim() == 4:
            self._look_at(result, *args)
        return result

    def _look_at(
        self, output: Tensor, images: Tensor, weight: Tensor, bias: Any, stride: Sequence[int], *_: Any
    ) -> None:
        del bias
        self.macs += output.numel() * weight[0].numel()
        if max(weight.shape[2:]) == 1 and max(stride) > 1 and not self.strided_pointwise:
            inputs = images.shape[1]
            self.strided_pointwise = (
                f"1x1 convolution with stride {max(stride)}, {inputs} to {output.shape[1]} channels"
            )


@dataclass(frozen=True)
class Trial:
    """A network and a batch to try it with.

    Attributes:
        model: Stays as it is.
        batch: Inputs and targets, on the network's device.
        loss: Loss of the task.
        precision: Precision of training, as in `Schedule`.
    """

    model: nn.Module
    batch: Batch
    loss: Loss
    precision: str

    def objection(self) -> str:
        """Why not to use channels last, where the layout the network was given in does: empty where nothing speaks against it."""
        try:
            wanted = self._gradients(channels_last=False)
        except Exception:  # whatever a network may raise; training will raise it again
            return "the network can't be tried with its training data"
        try:
            found = self._gradients(channels_last=True)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            return f"the network fails with its weights channels last: {type(error).__name__}: {reason}"
        if self.precision == "float32" and not all(map(_same, found, wanted)):
            return "gradients are others with weights channels last"
        return ""

    def speed_up(self) -> float:
        """How many times faster a step is channels last, by turns, the fastest of a few of each."""
        networks = {layout: self._network(layout).train() for layout in (False, True)}
        fastest = dict.fromkeys(networks, float("inf"))
        begun = time.perf_counter()
        with isolated_rng(0):
            for number in range(-1, ROUNDS):  # the first one warms up
                for layout, network in networks.items():
                    seconds = self._timed(network)
                    if number >= 0:
                        fastest[layout] = min(fastest[layout], seconds)
                if number >= 0 and time.perf_counter() - begun > LONG_S:
                    break
        return fastest[False] / fastest[True]

    def _network(self, channels_last: bool) -> nn.Module:
        network = clone(self.model)
        return arranged(network, channels_last=channels_last)

    def _gradients(self, *, channels_last: bool) -> list[Tensor | None]:
        """Run a step in train mode and one in eval mode; returns the gradients of the latter, where nothing is dropped out."""
        network = self._network(channels_last)
        with isolated_rng(0):
            for mode in (True, False):
                network.train(mode).zero_grad()
                self._step(network)
        return [parameter.grad for parameter in network.parameters()]

    def _step(self, network: nn.Module) -> None:
        inputs, targets = self.batch
        device = next(network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            value = loss_value(self.loss, call_model(network, inputs), targets)
        value.backward()

    def _timed(self, network: nn.Module) -> float:
        """Seconds of a step: those that processors worked, which other programs don't count for, or those that a GPU took."""
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        clock = time.perf_counter if cuda else time.process_time
        started = clock()
        self._step(network)
        if cuda:
            torch.cuda.synchronize()
        return clock() - started


def arranged(model: nn.Module, *, channels_last: bool) -> nn.Module:
    """`model` with the weights of its convolutions in one layout or the other, changed in place."""
    if channels_last:
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    if all(parameter.is_contiguous() for parameter in model.parameters() if parameter.dim() == 4):
        return model
    return model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def _same(found: Tensor | None, wanted: Tensor | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    with suppress(RuntimeError):  # of sparse gradients
        largest = float(wanted.abs().max()) if wanted.numel() else 0.0
        return float((found - wanted).abs().max()) <= SAME * largest + 1e-6 if wanted.numel() else True
    return True
