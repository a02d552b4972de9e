"""Why a network with fewer multiply-accumulates takes as long as before: each answer rests on a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.nn_utils.samples import at_batch
from evoprune.objectives.latency import forward_pass, time_by_turns
from evoprune.run.timing.layers import LayerTimes, time_layers
from evoprune.run.timing.traffic import bytes_moved

MORE: Final = 4
"""Times the samples that show whether a pass waits for calls."""
BARELY: Final = 1.5
"""A pass of so many times the samples that takes less than this many times as long."""
REPEATS: Final = 30
MOST_S: Final = 0.3
FASTER: Final = 0.95
"""Share of the time that rounded-up layers must stay below."""
LARGE_PART: Final = 0.5
"""Share of a pass that is called its cause."""


@dataclass(frozen=True)
class SlowPass:
    """A pass of a finished network that takes as long as the dense one's.

    Attributes:
        model: The finished network, in eval mode.
        dense: The dense one.
        example_inputs: Inputs of one forward pass.
        batch: Samples in the pass.
        runtime: What ran it.
    """

    model: nn.Module
    dense: nn.Module
    example_inputs: Any
    batch: int
    runtime: str

    @cached_property
    def inputs(self) -> Any:
        """Inputs of the pass."""
        return at_batch(self.model, self.example_inputs, self.batch)

    @cached_property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(
            (one.device for one in tensors_in((self.inputs, list(self.model.parameters())))), torch.device("cpu")
        )


def causes(slow: SlowPass) -> tuple[str, ...]:
    """What was measured to be the cause, a sentence each; that none was, where none was."""
    found = [*_from(_calls, slow)]
    if slow.runtime == EAGER:
        found += [one for cause in (_layers, _memory) for one in _from(cause, slow)]
    return tuple(found) or ("no cause was found: neither calls nor widths nor memory account for it",)


def _from(cause: Callable[[SlowPass], Iterator[str]], slow: SlowPass) -> list[str]:
    """Nothing where the measurement fails: an explanation is no reason to lose a run."""
    try:
        return list(cause(slow))
    except Exception:  # whatever a network or a layer alone may raise
        return []


def _calls(slow: SlowPass) -> Iterator[str]:
    more = at_batch(slow.model, slow.example_inputs, MORE * slow.batch)
    runners = {"as it is": forward_pass(slow.model, slow.inputs, slow.runtime)}
    times = _least({**runners, "more": forward_pass(slow.model, more, slow.runtime)})
    ratio = times["more"] / times["as it is"]
    if ratio < BARELY:
        yield (
            f"launch-bound: {MORE} times the samples take {ratio:.2f} times as long, so that the time goes into starting "
            "operations and not into what pruning saves"
        )


def _layers(slow: SlowPass) -> Iterator[str]:
    times = time_layers(slow.model, slow.dense, slow.inputs, slow.device)
    whole = _least({"whole": forward_pass(slow.model, slow.inputs)})["whole"]
    yield from _alignment(times)
    if times.total_ms < LARGE_PART * whole:
        yield (
            f"other layers: convolutions and linear layers take {times.total_ms:.3f} of {whole:.3f} ms; the rest is "
            "normalisation, pooling, activations and calls"
        )


def _alignment(times: LayerTimes) -> Iterator[str]:
    if times.uneven and times.rounded_ms < FASTER * times.uneven_ms:
        yield (
            f"alignment: widths of {len(times.uneven)} layers are no multiples of {times.step} ({', '.join(times.uneven[:3])}); "
            f"rounded up they take {times.rounded_ms:.3f} ms instead of {times.uneven_ms:.3f}, although they compute more. "
            f"search.round_to={times.step} keeps to such widths"
        )


def _memory(slow: SlowPass) -> Iterator[str]:
    moved = bytes_moved(slow.model, slow.inputs)
    source = torch.empty(max(1, moved // 2), dtype=torch.uint8, device=slow.device)
    target = torch.empty_like(source)
    times = _least(
        {"copy": _synced(lambda: target.copy_(source), slow.device), "whole": forward_pass(slow.model, slow.inputs)}
    )
    if times["copy"] > LARGE_PART * times["whole"]:
        yield (
            f"memory-bound: a pass reads and writes {moved / 1e6:,.1f} MB; copying as much takes {times['copy']:.3f} of its "
            f"{times['whole']:.3f} ms"
        )


def _least(runners: dict[str, Callable[[], object]]) -> dict[str, float]:
    times = time_by_turns(runners, repeats=REPEATS, most_s=MOST_S, warm_up_s=MOST_S)
    # What other programs take is no cause of ours.
    return {name: 1000 * min(values) for name, values in times.items()}


def _synced(call: Callable[[], Tensor], device: torch.device) -> Callable[[], object]:

    def run() -> object:
        result = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run
