"""What is laid over a model's modules while a trace runs through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils.spectral_norm import SpectralNorm

from evoprune.nn_utils.computed_weights import computing_hooks
from evoprune.space.tracing.rules.call import Call
from evoprune.space.tracing.rules.computed import spectral_norm_hook
from evoprune.space.tracing.rules.modules import ModuleRule, module_rule

RunWhole = Callable[[nn.Module, ModuleRule, Any, Any, Any], Any]
"""Runs a module's forward on arguments without following its operations, and has a rule label the result."""


@contextmanager
def whole_modules(model: nn.Module, run_whole: RunWhole) -> Iterator[None]:
    """Have the modules with a rule of their own run as one operation, for as long as this lasts."""
    changed: list[tuple[nn.Module, bool, Any]] = []
    hooks: list[SpectralNorm] = []
    try:
        for module in model.modules():
            rule = module_rule(module)
            if rule is not None:
                changed.append((module, "forward" in vars(module), module.forward))
                vars(module)["forward"] = _whole(run_whole, module, rule)
        for module, hook in computing_hooks(model):
            if isinstance(hook, SpectralNorm):
                hooks.append(hook)
                vars(hook)["compute_weight"] = _whole_hook(run_whole, module, hook)
        yield
    finally:
        for hook in hooks:
            vars(hook).pop("compute_weight", None)
        for module, own, forward in changed:
            if own:
                vars(module)["forward"] = forward
            else:
                vars(module).pop("forward", None)


def _whole(run_whole: RunWhole, module: nn.Module, rule: ModuleRule) -> Callable[..., Any]:
    forward = module.forward
    return lambda *args, **kwargs: run_whole(module, rule, forward, args, kwargs)


def _whole_hook(run_whole: RunWhole, module: nn.Module, hook: SpectralNorm) -> Callable[..., Any]:
    compute = hook.compute_weight

    def rule(call: Call, _: nn.Module) -> None:
        spectral_norm_hook(call, hook, module)

    return lambda *args, **kwargs: run_whole(module, rule, compute, args, kwargs)


@contextmanager
def module_path(
    model: nn.Module, path: list[str], ran: set[str], given: Callable[[Any], None] = lambda _: None
) -> Iterator[None]:
    """Keep in `path` the names of the modules that are running, and in `ran` those that have run.

    Global hooks do it, so that the model's own hooks are left alone.

    Args:
        model: The model that runs meanwhile.
        path: The outermost module comes first.
        ran: Receives names.
        given: Called with the arguments of a module as it begins, and with what it returned as the one around it goes on.
    """
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, arguments: Any) -> None:
        if id(module) in names:
            path.append(names[id(module)])
            ran.add(names[id(module)])
            given(arguments)

    def leave(module: nn.Module, _: Any, outputs: Any) -> None:
        if id(module) in names and path:
            path.pop()
            given(outputs)

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        path.clear()
        for handle in handles:
            handle.remove()
