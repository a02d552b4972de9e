"""A masked network for inference, whose linear layers are sparse products wherever that is measured to be faster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.errors import SurgeryError, UsageError
from evoprune.exporters.sparse_linear import DTYPES, CsrLinear
from evoprune.nn_utils.calling import run_example, undisturbed
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import compare, outputs_of
from evoprune.objectives.latency import measure_latency_ms

MINIMUM_SPARSITY: Final = 0.7
"""With half of the weights zero, no layer in `benchmarks/sparse_inference` was faster."""

MARGIN: Final = 0.9
"""Share of the dense time that the sparse product may take at most: what is gained must be more than the noise of timing."""

REPEATS: Final = 20


@dataclass(frozen=True)
class LayerSpeed:
    """What became of one linear layer, and why.

    Attributes:
        name: Name of the layer.
        sparsity: Fraction of zeros among its weights, 0 to 1.
        dense_ms: Median of one dense product on what the example inputs send through the layer; None where not measured.
        sparse_ms: The same for the sparse product.
        converted: Whether the layer is sparse now.
        reason: Says why it is not; empty if it is.
    """

    name: str
    sparsity: float
    dense_ms: float | None = None
    sparse_ms: float | None = None
    converted: bool = False
    reason: str = ""


@dataclass(frozen=True)
class SparseInference:
    """A network made for inference, with the measurements behind it.

    Attributes:
        model: The converted network, in eval mode; it can't be trained, and its state dict is not that of the dense network.
        layers: One entry per linear layer of the network, in its order.
    """

    model: nn.Module
    layers: tuple[LayerSpeed, ...]


@torch.inference_mode(False)
def to_csr(
    model: nn.Module,
    example_inputs: Any,
    *,
    minimum_sparsity: float = MINIMUM_SPARSITY,
    faster_only: bool = True,
    repeats: int = REPEATS,
) -> SparseInference:
    """A copy of `model` whose sparse linear layers skip their zeros.

    Which of two products is faster depends on the machine, on torch's threads, and on the number of samples at once: measure with
    inputs like those to come. Convolutions stay dense.

    Args:
        model: Network with zeros, as `evoprune.prune` makes it from a `MaskPlan`; untouched.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        minimum_sparsity: Layers with a smaller fraction of zeros stay dense, unmeasured.
        faster_only: Convert only layers whose sparse product is measured to be faster here and now, by a tenth; otherwise all.
        repeats: Timed products of either kind.

    Raises:
        UsageError: The sparsity is not within 0 to 1.
        UnsupportedModelError: The model can't run on the inputs.
        SurgeryError: The converted network computes something else, which would be a defect of a sparse kernel.
    """
    if not 0 <= minimum_sparsity <= 1:
        raise UsageError(f"minimum_sparsity is {minimum_sparsity}, accepted are 0 to 1")
    sparse = clone(model).eval()
    inputs = _inputs_of_linears(sparse, example_inputs)
    layers = []
    for name, linear, why_not in _linears(sparse):
        layer = LayerSpeed(name, 1 - int(linear.weight.count_nonzero()) / max(1, linear.weight.numel()), reason=why_not)
        if not why_not:
            layer = _decided(layer, linear, inputs.get(name), minimum_sparsity, faster_only, repeats)
        layers.append(layer)
    _convert(sparse, {layer.name for layer in layers if layer.converted})
    _check_same(model, sparse, example_inputs)
    return SparseInference(sparse, tuple(layers))


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear, str]]:
    """Name, layer, and why it can't be converted; empty where it can."""
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Linear):
            parent = modules.get(name.rpartition(".")[0], model)
            yield name, module, _why_not(module, parent)


def _why_not(linear: nn.Linear, parent: nn.Module) -> str:
    if linear is parent:
        return "the model itself is the layer"
    if type(linear) is not nn.Linear:
        return f"{type(linear).__name__} is not a plain nn.Linear"
    if isinstance(parent, (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
        return f"{type(parent).__name__} reads its weights itself"
    if any(getattr(linear, kind) for kind in ("_forward_hooks", "_forward_pre_hooks")):
        return "the layer has hooks"
    return "" if linear.weight.dtype in DTYPES else f"no sparse products in {linear.weight.dtype}"


def _decided(
    layer: LayerSpeed,
    linear: nn.Linear,
    inputs: Tensor | None,
    minimum_sparsity: float,
    faster_only: bool,
    repeats: int,
) -> LayerSpeed:
    if layer.sparsity < minimum_sparsity:
        return replace(layer, reason=f"less than {minimum_sparsity:.0%} zeros")
    if inputs is None:
        return replace(layer, reason="the example inputs don't reach it")
    csr = CsrLinear(linear)
    try:
        with torch.inference_mode():
            times = measure_latency_ms(
                {"dense": partial(_product, linear, inputs), "sparse": partial(_product, csr, inputs)}, repeats=repeats
            )
    except RuntimeError as error:
        return replace(layer, reason=f"torch can't multiply sparse matrices here: {str(error).splitlines()[0]}")
    converted = not faster_only or times["sparse"] < MARGIN * times["dense"]
    reason = "" if converted else "the dense product is faster"
    return replace(layer, dense_ms=times["dense"], sparse_ms=times["sparse"], converted=converted, reason=reason)


def _product(layer: nn.Module, inputs: Tensor) -> None:
    layer(inputs)
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)


def _inputs_of_linears(model: nn.Module, example_inputs: Any) -> dict[str, Tensor]:
    """What the example inputs send through each linear layer, at its first call."""
    seen: dict[str, Tensor] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs:
            seen.setdefault(name, inputs[0].detach())

    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    with undisturbed(model):  # which takes away what hooks that were there before it note down
        handles = [module.register_forward_pre_hook(partial(note, name)) for name, module in linears]
        try:
            run_example(model, example_inputs)
        finally:
            for handle in handles:
                handle.remove()
    return seen


def _convert(model: nn.Module, names: set[str]) -> None:
    made = {
        module: CsrLinear(module)
        for name, module in model.named_modules()
        if name in names and isinstance(module, nn.Linear)
    }
    for parent in list(model.modules()):
        # Not `named_children`, which leaves out the second name of a shared layer.
        for name, child in list(parent._modules.items()):
            if child in made:
                setattr(parent, name, made[child])


def _check_same(model: nn.Module, sparse: nn.Module, example_inputs: Any) -> None:
    result = compare(outputs_of(sparse, example_inputs), outputs_of(model, example_inputs))
    if not result.agrees:
        raise SurgeryError(
            f"the sparse products differ from the dense ones by {result.max_abs_difference:.2g} "
            f"where outputs reach {result.max_abs_reference:.2g}"
        )
