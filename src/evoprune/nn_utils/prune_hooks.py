"""Weights that `torch.nn.utils.prune` masks before every pass: `weight_orig` times `weight_mask`, kept as a plain `weight`.

The hooks stay on in copies; everything that reads weights sees them as the layer will use them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod


def masked_tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, BasePruningMethod]]:
    """`(module name, module, hook)` for every tensor under a mask."""
    for path, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                yield path, module, hook


def refresh_masked(model: nn.Module) -> None:
    """Give layers with hooks on the weight that their next pass will compute, with the size of what it is computed from."""
    for _, module, hook in masked_tensors(model):
        with torch.no_grad():
            setattr(module, hook._tensor_name, hook.apply_mask(module))


def effective_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Detached parameters by name, a shared one once, under its first name; one under a mask with the mask on."""
    found = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for path, module, hook in masked_tensors(model):
        name = f"{path}.{hook._tensor_name}_orig".lstrip(".")
        if name in found:
            with torch.no_grad():
                found[name] = hook.apply_mask(module).detach()
    return found


def stored_name(module: nn.Module, name: str) -> str:
    """The name under which a module stores its tensor `name`: with `_orig` behind it while it is under a mask."""
    original = f"{name}_orig"
    return original if name not in module._parameters and original in module._parameters else name
