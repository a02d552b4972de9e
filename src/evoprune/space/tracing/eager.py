"""Models that torch has compiled can't be followed operation by operation, nor rebuilt smaller."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from evoprune.errors import UnsupportedModelError
from evoprune.space.tracing.labels import Couplings


def require_eager(model: nn.Module) -> None:
    """Accept modules that run as Python code with weights in place.

    Raises:
        UnsupportedModelError: The model, or a part of it, is compiled; the model is TorchScript; a layer has no shape yet.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            f"{type(model).__name__} is TorchScript, which can't be pruned",
            "analyse the module that it was made from, and script or trace the pruned one",
        )
    for name, module in model.named_modules():
        if _is_compiled(module):
            raise UnsupportedModelError(
                f"{name or 'the model'} is compiled by torch.compile, which can't be analysed",
                "analyse the module that was compiled (`compiled._orig_mod`), and compile the pruned one",
            )
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise UnsupportedModelError(
            f"{lazy[0]} and perhaps others have no shape yet", "run the model once before it is analysed"
        )


def freeze_scripted(model: nn.Module, couplings: Couplings) -> None:
    """Freeze what parts of the model in TorchScript own: their code can't be given other sizes."""
    paths = [f"{name}." for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    for (tensor, _), block in list(couplings.blocks.items()):
        if any(tensor.startswith(path) for path in paths):
            couplings.freeze_first(block, "belongs to a TorchScript module")


def _is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile(module)`, whose class is known by name to spare the import, or `module.compile()` was called."""
    kind = type(module)
    wrapped = kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo")
    return wrapped or getattr(module, "_compiled_call_impl", None) is not None
