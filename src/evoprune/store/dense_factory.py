"""What builds the dense network of an artifact: a class or function, by name or in hand."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evoprune.errors import ConfigError, EvopruneError, StoreCorruptedError, UsageError
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.plugins import import_object
from evoprune.rng import isolated_rng

MAIN: Final = "__main__"
"""The module that every script and notebook is while it runs."""

Factory = Callable[[], nn.Module]

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without what parallel training or averaging wraps around it."""
    while isinstance(model, _PARALLEL):
        model = model.module
    return model


def build_dense(
    factory: Factory | nn.Module | str | None, directory: Path, reason: str = "", script: str = ""
) -> nn.Module:
    """Call the factory under a fixed seed, so that building a network never disturbs the caller's random state.

    Args:
        factory: Function that builds the network, its import path, or the network itself.
        directory: Folder of the artifact, for messages.
        reason: Says why the artifact names no factory.
        script: Name of the script that a factory in `__main__` is of, where known.

    Returns:
        The network, without what parallel training, averaging or `torch.compile` wraps around it.

    Raises:
        UsageError: There is none, it is neither a function nor a module class, or it returns something else; the network is
            TorchScript or has no memory.
        StoreCorruptedError: The artifact names it by something else than text.
    """
    if isinstance(factory, nn.Module):
        return _eager(factory)
    if factory is not None and not callable(factory) and not isinstance(factory, str):
        raise StoreCorruptedError(f"{directory} names as its factory what is no name", "pass factory= yourself")
    if not factory:
        raise UsageError(
            f"{directory} names no factory for the dense network{reason and f': {reason}'}",
            "pass the dense network itself: evoprune.load(directory, model=my_dense_model)",
        )
    build: Any = _imported(factory, script) if isinstance(factory, str) else factory
    # An artifact may come from anyone. It may name code to call, but neither built-ins nor arguments.
    if isinstance(factory, str) and not _is_builder(build):
        raise UsageError(f"{factory} is neither a function nor a class of networks", "pass factory= yourself")
    with isolated_rng(0):
        model = build()
    if not isinstance(model, nn.Module):
        raise UsageError(f"the factory returned a {type(model).__name__}, not a torch module")
    return _eager(model)


def check_factory(factory: str, model: nn.Module) -> str:
    """See, before there is any work, that `factory` is the import path of what builds a network like `model`; gives it back.

    Raises:
        UsageError: It isn't, or it fails.
    """
    if not isinstance(factory, str):
        raise ConfigError(
            f"factory is a {type(factory).__name__}, and an artifact can hold nothing but a name",
            'pass its import path, "package.module:build"',
        )
    try:
        built = build_dense(factory, Path())
    except EvopruneError:
        raise
    except Exception as error:  # whatever a constructor of the user's may raise
        raise UsageError(f"the factory {factory} fails: {type(error).__name__}: {error}") from error
    if fingerprint(built) != fingerprint(model):
        raise UsageError(
            f"the factory {factory} builds a network whose tensors have other names or shapes than the model's",
            "name one that builds it, or leave factory= out",
        )
    return factory


def _eager(model: nn.Module) -> nn.Module:
    """What may be pruned and filled.

    Raises:
        UsageError: Nothing may.
    """
    inner = _inner(model)
    if isinstance(inner, torch.jit.ScriptModule):
        raise UsageError(
            "the dense network is TorchScript, which can't be pruned", "pass the module that it was made from"
        )
    if any(tensor.is_meta for tensor in named_tensors(inner).values()):
        raise UsageError(
            "the dense network is on torch's meta device, where tensors have no memory",
            "build it on the CPU; its weights don't matter, they are replaced",
        )
    return inner


def _inner(model: nn.Module) -> nn.Module:
    inner = unwrapped(model)
    # Importing the compiler takes seconds, and without it nothing has been compiled.
    while "torch._dynamo" in sys.modules and isinstance(inner, torch._dynamo.OptimizedModule):
        inner = unwrapped(inner._orig_mod)
    return inner


def _imported(path: str, script: str) -> Any:
    try:
        return import_object(path)
    except ConfigError as error:
        module, _, name = path.partition(":")
        if module == MAIN:
            raise ConfigError(
                f"the dense network is {name} of {script or 'a script or notebook'}, which is not what runs here",
                "pass the dense network itself: evoprune.load(directory, model=my_dense_model)",
            ) from error
        raise ConfigError(
            f"can't import the factory {path}: {error.message}",
            "run from the folder that it is in, or pass the dense network: evoprune.load(directory, model=my_dense_model)",
        ) from error


def script_of(factory: str | None) -> str:
    """Name of the script whose `__main__` a factory is in; empty for others, and in a notebook."""
    if factory is None or factory.partition(":")[0] != MAIN:
        return ""
    path = getattr(sys.modules[MAIN], "__file__", None)
    return "" if path is None else Path(path).name


def _is_builder(candidate: Any) -> bool:
    return isinstance(candidate, types.FunctionType) or (
        inspect.isclass(candidate) and issubclass(candidate, nn.Module)
    )
