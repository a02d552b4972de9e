"""What a run is about: model, task and example inputs, from a recipe or from the caller's hands."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from evoprune.errors import ConfigError
from evoprune.events import Listener, ignore
from evoprune.plugins import resolve
from evoprune.rng import isolated_rng
from evoprune.space.fingerprint import fingerprint
from evoprune.task import Task


@dataclass(frozen=True)
class Problem:
    """A network and its job.

    Attributes:
        model: Dense network, trained or not.
        task: Data, loss and metric.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        factory: Import path of a function or class that builds the dense network without arguments, where known.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    factory: str | None = None


class ProblemSource(Protocol):
    """Where a problem comes from. Pickling a source and loading it in another process gives an equal problem."""

    def load(self, notify: Listener = ignore) -> Problem:
        """The problem; a source may be loaded more than once."""


@dataclass(frozen=True)
class LiveSource:
    """A problem that the caller holds; travels to worker processes by pickling.

    Attributes:
        problem: Its model is copied at every load and so stays as it is.
    """

    problem: Problem

    def load(self, notify: Listener = ignore) -> Problem:
        """The problem, with a model of its own."""
        del notify
        return replace(self.problem, model=copy.deepcopy(self.problem.model))


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
        """
        recipe = resolve("recipes", self.name)
        if not callable(recipe):
            raise ConfigError(f"recipe {self.name!r} is a {type(recipe).__name__}, not a function")
        accepted = inspect.signature(recipe).parameters
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
        made = recipe(**{key: value for key, value in given.items() if key in accepted and value is not None})
        if not (
            isinstance(made, tuple) and len(made) == 3 and isinstance(made[0], nn.Module) and isinstance(made[1], Task)
        ):
            raise ConfigError(f"recipe {self.name!r} must return (model, evoprune.Task, example_inputs)")
        return Problem(*made, factory=factory_of(made[0]))


def factory_of(model: nn.Module) -> str | None:
    """Import path of the model's class, when that builds such a network without arguments; None otherwise."""
    kind = type(model)
    if "<locals>" in kind.__qualname__:
        return None
    try:
        inspect.signature(kind).bind()
        with isolated_rng(0):
            built = kind()
    except Exception:  # whatever a constructor of the user's may raise
        return None
    same = repr(built) == repr(model) and fingerprint(built) == fingerprint(model)
    return f"{kind.__module__}:{kind.__qualname__}" if same else None
