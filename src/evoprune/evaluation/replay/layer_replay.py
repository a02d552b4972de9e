"""Score many values of a few weights: run what depends on them, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch
from evoprune.data.trees import tensors_in
from evoprune.errors import InvalidPlanError, UnsupportedModelError
from evoprune.evaluation.replay.capture import NotCapturedError, version_of
from evoprune.evaluation.replay.program import Program
from evoprune.evaluation.replay.recordings import Recordings
from evoprune.evaluation.replay.whole import WholeNetwork
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.modes import eval_mode
from evoprune.space.tracing.eager import require_eager

MEMORY_LIMIT_BYTES: Final = 512 * 2**20

ALIGNMENT: Final = 64
"""Bytes that torch aligns its tensors to; matrix kernels may take other paths for other addresses."""


class LayerReplay:
    """The outputs of a network in eval mode on a fixed set, for any values of some of its parameters.

    Each shape of batch is recorded once as a list of operations. Those that don't depend on the chosen parameters run once per
    batch, and what the others need of them is kept; a candidate costs only the others. The outputs are those of the whole
    network in the same batches, bit for bit. A network that can't be recorded runs whole for every candidate, and `reason` says
    why. Every recording is compared with the network itself, with the weights as they are and with half of the chosen ones zero.

    The model is not modified. Its other weights must stay as they are for as long as this object is in use.

    Args:
        model: Network on `device`.
        names: Parameters whose values candidates replace, such as `["fc1.weight"]`.
        source: The samples to score on; read in order, without a seed.
        device: Device that the batches go to.
        batch_size: Samples per batch. Results may differ in the last bits between batch sizes.
        memory_limit_bytes: Most bytes to keep of the batches, targets included. Batches past it are read and prepared again for
            every call, so that several candidates at once share the work.

    Attributes:
        reason: Why the whole network runs for each candidate; None when it doesn't.
        cached_bytes: Memory that is kept.
        batches_cached: Batches that are kept.
        batches: All batches.

    Raises:
        UnsupportedModelError: The model has no parameter of such a name.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        source: Source,
        *,
        device: torch.device,
        batch_size: int,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self._model, self._names, self._source = model, list(names), source
        self._device, self._batch_size, self._limit = device, batch_size, memory_limit_bytes
        self._parameters = _chosen(model, self._names)
        self.reason: str | None = None
        try:
            with eval_mode(model):
                require_eager(model)
                self._fill(Recordings(model, self._names, self._values({})))
        except (NotCapturedError, UnsupportedModelError) as error:
            self.reason = str(error)
        if self.reason is not None:  # outside the handler, whose traceback would keep the failed pass's tensors alive
            self._fill(WholeNetwork(model, self._names))
        self._state = _state(model)

    def outputs(self, values: Mapping[str, Tensor]) -> Iterator[Batch]:
        """The network's outputs with `values` in place of the chosen parameters.

        Args:
            values: Tensors by name, each of its parameter's shape; a parameter that is left out keeps its own value.

        Yields:
            (outputs, targets) per batch, as inference tensors, in the order of the source; it knows its number of samples.

        Raises:
            InvalidPlanError: A name was not chosen, or a shape is wrong.
            UnsupportedModelError: The model's weights have changed since this object was made.
        """
        for batch in self.outputs_of_many([values]):
            outputs, targets = batch
            yield Batch(outputs[0], targets, batch.samples)

    def outputs_of_many(self, values: Sequence[Mapping[str, Tensor]]) -> Iterator[Batch]:
        """Compute `outputs` for several candidates, each batch being read, or prepared again, once for all of them.

        Every candidate gets the bits that `outputs` gives it. Its weights are therefore not stacked with those of others into one
        wider product: that changes the last bits of narrow layers, and gains nothing on wide ones (benchmarks/masks).

        Yields:
            (one output per candidate, targets) per batch.
        """
        self._check_unchanged()
        candidates = [self._values(one) for one in values]
        for batch in self._batches():
            yield Batch([self._finish(batch, one) for one in candidates], batch.targets, batch.samples)

    def _finish(self, batch: _Batch, values: Sequence[Tensor]) -> Any:
        # Inference mode ends before the caller goes on: a generator must not leave its own mode behind at a yield.
        with torch.inference_mode():
            return batch.runner.finish(batch.kept, values)

    def _fill(self, preparer: Recordings | WholeNetwork) -> None:
        self._preparer = preparer
        self._cache: list[_Batch] = []
        self.cached_bytes, self.batches, room = 0, 0, True
        for pair in self._source.batches(self._batch_size, device=self._device):
            self.batches += 1
            batch = self._prepare(as_batch(pair))
            size = _bytes_of((batch.kept, batch.targets))
            room = room and self.cached_bytes + size <= self._limit
            if room:
                self._cache.append(batch)
                self.cached_bytes += size
        self.batches_cached = len(self._cache)

    def _prepare(self, batch: Batch) -> _Batch:
        inputs, targets = batch
        arguments, keywords = arguments_of(self._model, inputs)
        laid_out = keywords or arguments
        runner = self._preparer.runner(laid_out)
        with torch.inference_mode():
            return _Batch(runner, runner.prepare(laid_out), targets, batch.samples)

    def _batches(self) -> Iterator[_Batch]:
        yield from self._cache
        if self.batches_cached < self.batches:
            source = self._source.batches(self._batch_size, device=self._device)
            for number, pair in enumerate(source):
                if number >= self.batches_cached:
                    yield self._prepare(as_batch(pair))

    def _values(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        unknown = [name for name in values if name not in self._parameters]
        if unknown:
            raise InvalidPlanError(f"{unknown[0]} is not among the parameters to replace: {', '.join(self._names)}")
        return [_like(values.get(name, own), own, name) for name, own in self._parameters.items()]

    def _check_unchanged(self) -> None:
        if _state(self._model) != self._state:
            raise UnsupportedModelError(
                "the model's weights or buffers have changed since its activations were cached",
                "make a new LayerReplay after training or replacing weights",
            )


@dataclass(frozen=True)
class _Batch:
    runner: Program | WholeNetwork
    kept: Any
    targets: Any
    samples: int


def _chosen(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=3, cutoff=0.0)
            raise UnsupportedModelError(f"the model has no parameter {name!r}", f"the closest ones: {', '.join(near)}")
    if len({id(parameters[name]) for name in names}) < len(names):
        raise UnsupportedModelError(
            f"one parameter is named twice: {', '.join(names)}", "give one name of tied weights"
        )
    return {name: parameters[name].detach() for name in names}


def _state(model: nn.Module) -> list[tuple[int, int | None]]:
    """What tells that a tensor of the model was replaced or written to; walks no names, for it runs with every candidate."""
    return [
        (tensor.data_ptr(), version_of(tensor))
        for module in model.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]


def _like(value: Tensor, own: Tensor, name: str) -> Tensor:
    """`value` on the device and in the memory format of the parameter it replaces: kernels may differ by either."""
    if value.shape != own.shape:
        raise InvalidPlanError(f"{name} is {list(own.shape)}, the value for it {list(value.shape)}")
    fits = value.device == own.device and value.dtype == own.dtype and value.stride() == own.stride()
    if fits and value.data_ptr() % ALIGNMENT == own.data_ptr() % ALIGNMENT:
        return value.detach()
    return torch.empty_like(own).copy_(value.detach())


def _bytes_of(tree: Any) -> int:
    memory = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors_in(tree)}
    return sum(memory.values())
