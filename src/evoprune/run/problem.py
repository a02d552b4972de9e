"""What a run is about: model, task and example inputs, from a recipe or from the caller's hands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from evoprune.data.task import Task
from evoprune.errors import ConfigError, UsageError
from evoprune.events import Listener, ignore
from evoprune.execution.apart import shielded
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.independence import check_copies
from evoprune.nn_utils.own_memory import require_own_memory
from evoprune.plugins import resolve
from evoprune.rng import isolated_rng
from evoprune.store.dense_factory import check_factory, unwrapped


@dataclass(frozen=True)
class Problem:
    """A network and its job.

    Attributes:
        model: Dense network, trained or not.
        task: Data, loss and metric.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        factory: Import path of a function or class that builds the dense network without arguments, where known.
        given: The network before anything ran, with the parameters of `model`; None where nobody asked to keep it.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    factory: str | None = None
    given: nn.Module | None = None

    def keeping_given(self) -> Problem:
        """The problem with a copy of its network as it is now; parameters, which take the most room, are shared."""
        shared: dict[int, Any] = {id(parameter): parameter for parameter in self.model.parameters()}
        return replace(self, given=clone(self.model, shared))


class ProblemSource(Protocol):
    """Where a problem comes from. Pickling a source and loading it in another process gives an equal problem."""

    def load(self, notify: Listener = ignore) -> Problem:
        """The problem; a source may be loaded more than once."""


@dataclass(frozen=True)
class LiveSource:
    """A problem that the caller holds; travels to worker processes by pickling.

    Attributes:
        problem: The problem; its model is copied at every load and so stays as it is.
    """

    problem: Problem

    def load(self, notify: Listener = ignore) -> Problem:
        """The problem, with a model of its own.

        Raises:
            UnsupportedModelError: The model can't be copied, its copies go on using it, or its weights share memory.
        """
        del notify
        require_own_memory(self.problem.model)
        shielded(self.problem.model, lambda: check_copies(self.problem.model, self.problem.example_inputs))
        return replace(self.problem, model=clone(self.problem.model))


@dataclass(frozen=True)
class RecipeSource:
    """A recipe by name; travels as the name alone.

    A recipe is a function that returns model, `Task` and example inputs. It may take any of the keyword arguments `data_dir`,
    `select_size`, `seed`, `pretrained` and `notify`; it is given those that it names.

    Attributes:
        name: Built-in name, entry point or `package.module:function`.
        data_dir: The user's own copy of the data.
        select_size: Samples cut from train; the recipe's default when None.
        seed: The run's seed.
        pretrained: Whether a recipe that has trained weights is to put them in; not when the run trains, or brings others.
    """

    name: str
    data_dir: Path | None
    select_size: int | None
    seed: int
    pretrained: bool = True

    def load(self, notify: Listener = ignore) -> Problem:
        """Call the recipe.

        Raises:
            ConfigError: It is unknown, does not take an argument that was set, or returns something else.
            UnsupportedModelError: Weights of its network share memory.
        """
        recipe = resolve("recipes", self.name)
        if not callable(recipe):
            raise ConfigError(f"recipe {self.name!r} is a {type(recipe).__name__}, not a function")
        accepted = _parameters(recipe)
        for key in ("data_dir", "select_size"):
            if getattr(self, key) is not None and key not in accepted:
                raise ConfigError(f"recipe {self.name!r} takes no {key}", "leave the setting out")
        given = {
            "data_dir": self.data_dir,
            "select_size": self.select_size,
            "seed": self.seed,
            "pretrained": self.pretrained,
            "notify": notify,
        }
        arguments = {key: value for key, value in given.items() if key in accepted and value is not None}
        _check_call(self.name, accepted, arguments)
        with isolated_rng(self.seed):  # weights that it draws are the same at a resume
            made = recipe(**arguments)
        if not (
            isinstance(made, tuple) and len(made) == 3 and isinstance(made[0], nn.Module) and isinstance(made[1], Task)
        ):
            raise ConfigError(f"recipe {self.name!r} must return (model, evoprune.Task, example_inputs)")
        require_own_memory(made[0])
        return Problem(*made, factory=factory_of(made[0]))


def _parameters(recipe: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(recipe).parameters
    except (ValueError, TypeError):  # a built-in function that doesn't say
        return {}


def _check_call(name: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> None:
    """See that the recipe can be called with what it is given.

    Raises:
        ConfigError: It takes an argument that nothing is known of.
    """
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for one in parameters.values():
        keyword = one.kind not in (*optional, inspect.Parameter.POSITIONAL_ONLY) and one.name in arguments
        if not keyword and one.default is inspect.Parameter.empty and one.kind not in optional:
            raise ConfigError(
                f"recipe {name!r} needs an argument {one.name!r}",
                "a recipe takes none but seed, data_dir, select_size, pretrained and notify; give any other a default",
            )


def factory_of(model: nn.Module) -> str | None:
    """Import path of the model's class, when that builds the same modules with tensors of the same shapes; None otherwise."""
    kind = type(model)
    if "<locals>" in kind.__qualname__:
        return None
    try:
        inspect.signature(kind).bind()
        with isolated_rng(0):
            built = kind()
    except Exception:  # whatever a constructor of the user's may raise
        return None
    same = _kinds(built) == _kinds(model) and fingerprint(built) == fingerprint(model)
    return f"{kind.__module__}:{kind.__qualname__}" if same else None


def _kinds(model: nn.Module) -> dict[str, type]:
    return {path: type(module) for path, module in model.named_modules(remove_duplicate=False)}


def problem_of(model: nn.Module, task: Task, example_inputs: Any, factory: str | None = None) -> Problem:
    """The problem of what the caller holds, the network without what parallel training or averaging wraps around it.

    Raises:
        UsageError: The factory builds no such network.
    """
    inner = unwrapped(model)
    return Problem(inner, task, example_inputs, factory_of(inner) if factory is None else check_factory(factory, inner))


def problem_in_hand(model: nn.Module | None, task: Task | None, example_inputs: Any) -> Problem | None:
    """What a run was started with from Python; None where nothing is given.

    Raises:
        UsageError: Only a part of it is given.
    """
    given = {"model": model, "task": task, "example_inputs": example_inputs}
    missing = [name for name, value in given.items() if value is None]
    if model is not None and task is not None and example_inputs is not None:
        return problem_of(model, task, example_inputs)
    if len(missing) < len(given):
        raise UsageError(
            f"{' and '.join(name for name in given if name not in missing)} without {' and '.join(missing)}",
            "pass model=, task= and example_inputs= as evolve was called with them, or none of them for a recipe's run",
        )
    return None
