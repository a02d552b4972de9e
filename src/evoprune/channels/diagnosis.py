"""Where a cut goes wrong: one pass of the masked network, in which every module is compared with its pruned version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import torch
from torch import nn

from evoprune.channels.journey import Journey, alike, summary
from evoprune.channels.module_case import Arguments, ModuleCase, differs
from evoprune.channels.positions import Positions
from evoprune.channels.reference import masked_copy
from evoprune.channels.surgery import prune
from evoprune.channels.trial_cuts import Bits
from evoprune.data.trees import map_tensors, tensors_in
from evoprune.nn_utils.calling import call_model, in_mode
from evoprune.nn_utils.draws import CommonDraws
from evoprune.space.analysis import Traced
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.labels import ModuleCall

_SUMMARY_TOLERANCE: Final = 1e-4

_MOST_BYTES: Final = 2**29
"""What is kept of the inputs of modules that don't fail."""


@dataclass(frozen=True)
class Diagnosis:
    """What a pass showed.

    Attributes:
        cases: Modules that fail on their own, the innermost of those inside each other first.
        suspects: Names of groups, the most suspicious first, of what the network does between its modules.
        agrees: Whether the pruned network came to the end, and no activation differed.
        runs: Whether the masked network came to the end.
    """

    cases: Sequence[ModuleCase]
    suspects: Sequence[str]
    agrees: bool
    runs: bool


def diagnose(
    model: nn.Module,
    inputs: Any,
    space: PruningSpace,
    found: Traced,
    bits: Bits,
    journey: Journey,
    *,
    training: bool = False,
) -> Diagnosis:
    """Look for the modules at which a cut fails.

    Args:
        model: The dense network, in evaluation mode; it stays as it is.
        inputs: Inputs of a forward pass.
        space: Pruning space that `bits` are of.
        found: Trace that `space` was made from.
        bits: The cut.
        journey: How far the pruned network came, with summaries.
        training: Run in training mode, in which modules are not looked at on their own, for they draw random numbers.
    """
    positions = Positions(space, found)
    plan = space.plan(bits)
    examination = _Examination(model, prune(model, plan), positions, found, bits, journey)
    reference = masked_copy(model, plan, only=None)
    with ExitStack() as stack:
        stack.enter_context(in_mode(reference, training=training))
        stack.enter_context(in_mode(examination.pruned, training=False))
        stack.enter_context(torch.no_grad())
        if training:
            stack.enter_context(CommonDraws())
        for path, module in reference.named_modules():
            for handle in examination.hooks(path, module, alone=not training):
                stack.callback(handle.remove)
        runs = False
        with suppress(Exception):  # a masked network that can't run shows what it shows until then
            call_model(reference, inputs)
            runs = True
    suspects = near(space, found, bits, journey, examination.astray)
    return Diagnosis(examination.cases(), suspects, examination.agrees, runs)


def near(space: PruningSpace, found: Traced, bits: Bits, journey: Journey, astray: int | None = None) -> list[str]:
    """Names of groups near the place where the pruned network stopped, the nearest first.

    Args:
        space: Pruning space that `bits` are of.
        found: Trace that `space` was made from.
        bits: The cut.
        journey: How far the pruned network came.
        astray: Number of the ended module whose result is the first to differ; None where it stopped.
    """
    positions = Positions(space, found)

    def of(paths: Iterable[str]) -> list[str]:
        calls = [call for path in paths for call in found.calls.get(path, ())[:1]]
        return [group.name for call in calls for group in positions.groups_of([*call.outputs, *call.inputs])]

    place = len(journey.ended) if astray is None else astray
    ended = list(reversed(journey.ended[:place]))
    stopped = journey.running[-1] if journey.running else ""
    inner = list(takewhile(lambda path: _inside(path, stopped), ended)) if stopped else []
    at = of(inner) if inner or not stopped else _of_stopped(positions, found, bits, journey)
    return list(dict.fromkeys([*at, *of(journey.ended[place : place + 1]), *of(ended)]))


def _of_stopped(positions: Positions, found: Traced, bits: Bits, journey: Journey) -> list[str]:
    """Groups of the layer that the network stopped in: its own, if what it was given is as it should be."""
    path, shapes = journey.running[-1], journey.given[-1]
    calls = found.calls.get(path, ())
    number = journey.ended.count(path)
    if number >= len(calls):
        return []
    inputs = calls[number].inputs
    expected = all(
        dim < len(shape) and shape[dim] == int(positions.kept(label, bits).sum())
        for shape, dims in zip(shapes, inputs, strict=False)
        for dim, label in dims.items()
    )
    given, made = ([group.name for group in positions.groups_of(dims)] for dims in (inputs, calls[number].outputs))
    return [*(name for name in made if name not in given), *given] if expected else [*given, *made]


class _Examination:
    """The hooks of one pass, and what they see."""

    def __init__(
        self, model: nn.Module, pruned: nn.Module, positions: Positions, found: Traced, bits: Bits, journey: Journey
    ) -> None:
        self.pruned = pruned
        self._model, self._positions, self._found, self._bits, self._journey = model, positions, found, bits, journey
        self._given: list[Arguments] = []
        self._counts: dict[str, int] = {}
        self._failing: dict[str, ModuleCase] = {}
        self._seen: dict[str, ModuleCase] = {}
        self._held_bytes = 0
        self._fine: set[str] = set()
        self._ended = 0
        self.astray: int | None = None

    def hooks(self, path: str, module: nn.Module, *, alone: bool) -> list[Any]:
        """Have a module of the reference looked at, and where `alone` compared on its own."""
        handles: list[Any] = []
        if alone and self._is_examined(path, module):
            handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
        handles.append(module.register_forward_hook(self._leave(path, examined=bool(handles)), with_kwargs=True))
        return handles

    def cases(self) -> list[ModuleCase]:
        """Modules that fail, and others of their kind; not what is inside of one that is fine, where it is given other sizes."""
        failing = [path for path in self._failing if not any(_inside(path, outer) for outer in self._fine)]
        kinds = {type(self._failing[path].module) for path in failing}
        alike = [case for path, case in self._seen.items() if path in failing or type(case.module) in kinds]
        return [case.filled(self._bits, self._positions) for case in alike]

    @property
    def agrees(self) -> bool:
        """Whether all that was compared, the outputs included, was alike."""
        return self.astray is None and not self._journey.running

    def _is_examined(self, path: str, module: nn.Module) -> bool:
        if not path or path not in self._found.calls:
            return False
        return type(module).__module__.partition(".")[0] != "torch" or "forward" in vars(module)

    def _enter(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        self._given.append(map_tensors((args, kwargs), lambda tensor: tensor.detach().clone()))

    def _leave(self, path: str, *, examined: bool) -> Callable[..., None]:
        def leave(_: nn.Module, __: Any, ___: Any, outputs: Any) -> None:
            number = self._counts[path] = self._counts.get(path, -1) + 1
            calls = self._found.calls.get(path, ())
            call = calls[number] if number < len(calls) else None
            given = self._given.pop() if examined else None
            if call is None:
                return
            self._compare_summaries(path, call, outputs)
            if given is not None and path not in self._failing:
                self._examine(path, call, given, outputs)

        return leave

    def _compare_summaries(self, path: str, call: ModuleCall, outputs: Any) -> None:
        place, journey = self._ended, self._journey
        self._ended += 1
        if self.astray is not None or place >= len(journey.ended):
            return
        if journey.ended[place] != path:
            self.astray = place
            return
        cut = self._positions.cut(outputs, call.outputs, self._bits)
        expected = [summary(tensor) for tensor in tensors_in(cut)]
        seen = journey.summaries[place]
        if seen and not all(alike(*pair, _SUMMARY_TOLERANCE) for pair in zip(seen, expected, strict=False)):
            self.astray = place

    def _examine(self, path: str, call: ModuleCall, given: Arguments, outputs: Any) -> None:
        module = self.pruned.get_submodule(path)
        cut = self._positions.cut(given, call.inputs, self._bits)
        try:
            made = list(tensors_in(module(*cut[0], **cut[1])))
            problem = differs(made, list(tensors_in(self._positions.cut(outputs, call.outputs, self._bits))))
        except Exception as error:
            problem = str(error) or type(error).__name__
        self._held_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(given))
        case = ModuleCase(path, self._model, self._found, call, given)
        if problem:
            self._failing[path] = self._seen[path] = case
        else:
            self._fine.add(path)
            if self._held_bytes < _MOST_BYTES:
                self._seen.setdefault(path, case)


def _inside(path: str, outer: str) -> bool:
    return path != outer and path.startswith(f"{outer}." if outer else "")
