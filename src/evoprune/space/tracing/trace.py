"""A model run in evaluation mode, and where that tells more in training mode, with all that was learnt of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from evoprune.data.used_outputs import EVERYTHING, Forgiving, UsedOutputs
from evoprune.errors import UnsupportedModelError
from evoprune.space.tracing.eager import freeze_scripted, require_eager
from evoprune.space.tracing.idle import has_idle_layers, list_idle
from evoprune.space.tracing.labels import Couplings
from evoprune.space.tracing.tracer import Tracer


class Trace:
    """A pass in evaluation mode that was followed, and after `train` one in training mode as well; the model is untouched.

    Args:
        model: Any eager module.
        example_inputs: A tensor, a tuple or list of arguments, or a dict of keyword arguments.
        readings: `{module: which dimension of a split may be cut}`, from the end; heads or the innermost where nothing is said.
        outputs: What of the outputs is used; the rest may change.

    Attributes:
        outputs: All tensors that the pass in evaluation mode returned.
        in_training: Whether a pass in training mode was followed as well; it is from the start where modules run in it alone.

    Raises:
        UnsupportedModelError: The model is not eager, or can't run on these inputs.
        UsageError: The outputs have no part that is called as `outputs` says.
    """

    def __init__(
        self, model: nn.Module, example_inputs: Any, readings: Mapping[str, int], outputs: UsedOutputs = EVERYTHING
    ) -> None:
        require_eager(model)
        self._model, self._inputs, self._outputs = model, example_inputs, outputs
        self._tracer = Tracer(model, readings)
        self._reached = self._tracer.run(example_inputs, outputs, training=False)
        self._known = self._tracer.couplings
        self._followed: tuple[Couplings, list[Tensor]] | None = None
        self.outputs = self._tracer.outputs
        self.in_training = False
        if has_idle_layers(model, self._tracer.ran, self._tracer.knows):
            self._train_if_more_runs()

    def train(self) -> None:
        """Follow a pass in training mode, for the tensors that are read there alone.

        Raises:
            UnsupportedModelError: The model can't be trained on the inputs.
        """
        self._known, reached = self._followed or self._in_training()
        self._reached += reached
        self.in_training = True

    def couplings(self) -> Couplings:
        """All that was found, with what the ends of the trace and the parts that lie idle add to it."""
        tracer = self._tracer
        reached = [tracer.labels(tensor) for tensor in self._reached]
        tracer.couplings = self._known.copy()
        list_idle(self._model, tracer.ran, tracer.knows, tracer.seen, tracer.couplings)
        freeze_scripted(self._model, tracer.couplings)
        for tensor, labels in zip(self._reached, reached, strict=True):
            tracer.check_taint(tensor)
            for atoms in labels.dims.values():
                tracer.couplings.freeze(atoms, "reaches the model's output")
        return tracer.couplings

    def _train_if_more_runs(self) -> None:
        """Train if modules run in training that don't in evaluation, such as auxiliary classifiers."""
        before = self._tracer.met()
        try:
            self._followed = self._in_training()
        except UnsupportedModelError:  # it can't be trained on the inputs
            return
        if self._tracer.ran > before[0]:
            self.train()
        else:
            self._tracer.forget_all_but(before)

    def _in_training(self) -> tuple[Couplings, list[Tensor]]:
        """What is known after a pass in training mode as well, and what its outputs are."""
        tracer = self._tracer
        tracer.couplings = self._known.copy()
        used = Forgiving(self._outputs)
        before = tracer.met()
        try:
            found = tracer.run(self._inputs, used, training=True)
        except UnsupportedModelError:
            tracer.forget_all_but(before)
            raise
        finally:  # the tracer goes on knowing the atoms that it came across
            self._known.blocks, self._known.atoms = dict(tracer.couplings.blocks), tracer.couplings.atoms
        tracer.couplings.work[:] = self._known.work  # costs are those of evaluation
        # Where it can't be told which of them are used, the self-check compares those that keep their shape.
        return tracer.couplings, [] if used.gave_up else found
