"""Computed weights made plain: what a layer computes before every pass becomes a parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.calling import in_mode
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import compare, outputs_of
from evoprune.nn_utils.computed_weights import computing_hooks
from evoprune.rng import isolated_rng


@torch.inference_mode(False)
def fold(model: nn.Module, example_inputs: Any) -> nn.Module:
    """A copy of `model` with plain weights where `weight_norm`, `spectral_norm` and other parametrizations compute them.

    The copy computes what `model` does in evaluation mode, which is checked; in training its weights go their own way. Analyse,
    prune and train the copy.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Raises:
        UnsupportedModelError: The model can't be copied, a weight is another at every call, or the copy computes something else.
    """
    folded = clone(model)
    with in_mode(folded, training=False), torch.no_grad(), isolated_rng(0):
        for module, hook in list(computing_hooks(folded)):
            remove = remove_spectral_norm if isinstance(hook, SpectralNorm) else remove_weight_norm
            remove(module, hook.name)
        for path, module in list(folded.named_modules()):
            if parametrize.is_parametrized(module):
                _fold_parametrizations(module, path)
    try:
        found = compare(outputs_of(folded, example_inputs), outputs_of(model, example_inputs))
    except Exception as error:
        raise UnsupportedModelError(f"the model with folded weights can't run: {error}") from error
    if not found.agrees:
        raise UnsupportedModelError(
            f"with folded weights the model computes something else: outputs differ by {found.max_abs_difference:.2g} where they "
            f"reach {found.max_abs_reference:.2g}",
            "a parametrization may depend on more than its parameters; remove it by hand",
        )
    return folded


def _fold_parametrizations(module: Any, path: str) -> None:
    """Torch's own `remove_parametrizations` changes the class, which the copy shares with the original."""
    for name in module.parametrizations:
        one, other = getattr(module, name), getattr(module, name)
        if not torch.equal(one.nan_to_num(), other.nan_to_num()):
            raise UnsupportedModelError(
                f"{path}.{name} is another at every call, and so can't be a plain weight".lstrip("."),
                "its parametrization draws random numbers or counts its calls; remove it by hand",
            )
    values = {
        name: (getattr(module, name).detach().clone(), next(iter(made.parameters(recurse=False)), None))
        for name, made in module.parametrizations.items()
    }
    kind = parametrize.type_before_parametrizations(module)
    del module._modules["parametrizations"]
    module.__class__ = kind
    for name, (value, original) in values.items():
        if original is None:
            module.register_buffer(name, value)
        else:
            module.register_parameter(name, nn.Parameter(value, requires_grad=original.requires_grad))
