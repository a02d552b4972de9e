"""Analysis with its self-check: what comes out has been pruned and compared with the masked reference."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from evoprune.channels.generic import generic_copy
from evoprune.channels.passes import Passes
from evoprune.channels.proof import Proof, Tell
from evoprune.channels.self_check import SelfCheck
from evoprune.channels.traces import Traces
from evoprune.data.used_outputs import Outputs, UsedOutputs
from evoprune.events import AnalysisProgress, Listener
from evoprune.nn_utils.keeping import state_kept
from evoprune.nn_utils.quantised import require_unquantised
from evoprune.space.analysis import Traced, trace_space, traced
from evoprune.space.coupling import STUCK
from evoprune.space.pruning_space import PruningSpace

_QUIET_S: Final = 2.0


@torch.inference_mode(False)
def analyze(
    model: nn.Module,
    example_inputs: Any,
    *,
    exclude: str | Sequence[str] = (),
    outputs: Outputs = None,
    self_check: bool = True,
    listen: Listener | None = None,
) -> PruningSpace:
    """Find what can be pruned from `model`, what goes together, and what can't go and why.

    A dimension that the model splits into several, such as heads and head size, can be cut along one of them only. The
    heads, if an attribute of the module tells of any, or the innermost is tried first; where that fails the self-check, the
    others are.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        exclude: Names or patterns of modules, with all that is in them, or of parameters that must stay as they are.
        outputs: What you use of the outputs, where that is not all: a name such as `"logits"`, an index, a path such as
            `"1.boxes"`, a list of these, or a function of the outputs. The rest may change, in shape as well.
        self_check: Prune parts of everything and compare; groups that disagree are frozen.
        listen: Called with an `AnalysisProgress` now and then, if it takes over two seconds.

    Raises:
        UnsupportedModelError: The model can't run on the inputs, can't be copied, its copies go on using it, or it is
            quantised already.
        UsageError: A pattern of `exclude` names nothing, or `outputs` no part of the outputs.
    """
    require_unquantised(model)
    if not self_check:
        return trace_space(model, example_inputs, exclude, UsedOutputs.of(outputs))
    with state_kept(model):
        return _checked_space(model, example_inputs, exclude, UsedOutputs.of(outputs), _teller(listen))


def _checked_space(
    model: nn.Module, example_inputs: Any, exclude: str | Sequence[str], outputs: UsedOutputs, tell: Tell
) -> PruningSpace:
    found = traced(model, example_inputs, exclude, outputs=outputs)
    passes, samples = Passes(found.passes), found.space.workload.samples
    if not found.space.groups and STUCK not in found.splits:
        return found.space
    checker = SelfCheck(
        generic_copy(model), example_inputs, model, keeps_state=found.keeps_state, outputs=outputs, passes=passes
    )

    def retrace(readings: Mapping[str, int], after: Traced | None) -> Traced:
        return traced(model, example_inputs, exclude, readings, outputs=outputs, after=after, samples=samples)

    traces = Traces(model, found, retrace, passes)
    return Proof(traces, checker, passes, tell).proven()


def _teller(listen: Listener | None) -> Tell:
    """Tells a listener from the third second on."""
    started = time.monotonic()

    def tell(passes: int, groups: int, frozen: int) -> None:
        seconds = time.monotonic() - started
        if listen is not None and seconds > _QUIET_S:
            listen(AnalysisProgress(passes, groups, frozen, seconds))

    return tell
