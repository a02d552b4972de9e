"""The model that `evoprune inspect` looks at: from a recipe or a function of one's own, with trained weights if there are any."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from evoprune.cli.package_models import package_model
from evoprune.data.task import Task
from evoprune.errors import ConfigError
from evoprune.plugins import BUILT_IN, resolve
from evoprune.rng import isolated_rng
from evoprune.store.checkpoint import put_checkpoint


@dataclass(frozen=True)
class Inspected:
    """A model with what its function returned along with it.

    Attributes:
        name: Name that the user asked for.
        model: The network, in evaluation mode.
        task: Data and metric; None where the function gave none.
        example_inputs: Inputs of one forward pass.
        checkpoint: File that the weights come from; None for those that the function returned.
        pretrained: Whether the function is a recipe that returns a trained network.
    """

    name: str
    model: nn.Module
    task: Task | None
    example_inputs: Any
    checkpoint: Path | None
    pretrained: bool = False

    def notes(self, dense: float | None) -> list[str]:
        """What to know about the accuracies measured, if any were; `dense` is that of the whole model on the select set."""
        if dense is None or self.checkpoint is not None or self.pretrained:
            return []
        train = (
            f"pass --checkpoint FILE with trained weights, such as a run's baseline/model.safetensors of {self.name}"
        )
        if self.name in BUILT_IN["recipes"]:
            return [
                f"the model is untrained: this recipe returns it before training, so the accuracies mean nothing; {train}"
            ]
        return [
            f"the weights are as {self.name} returned them; if it doesn't train the model, the accuracies mean nothing; {train}"
        ]


def load_inspected(name: str, data_dir: Path | None, checkpoint: Path | None) -> Inspected:
    """Call the function that `name` stands for, and put the checkpoint's weights into the model.

    Raises:
        ConfigError: There is no such function or model, it needs arguments, or it returns something else.
        MissingDependencyError: The package of a model isn't installed.
        DataError: The checkpoint can't be read or doesn't fit.
    """
    if (made := package_model(name)) is not None:
        model, example_inputs = made
        if checkpoint is not None:
            put_checkpoint(model, checkpoint)
        return Inspected(name, model.eval(), None, example_inputs, checkpoint)
    function = resolve("recipes", name)
    if not callable(function):
        raise ConfigError(f"{name} is a {type(function).__name__}, not a function")
    given: dict[str, Any] = {"seed": 0} | ({} if data_dir is None else {"data_dir": data_dir})
    accepted = inspect.signature(function).parameters
    if data_dir is not None and "data_dir" not in accepted:
        raise ConfigError(f"{name} takes no data_dir", "leave --data-dir out")
    arguments = {key: value for key, value in given.items() if key in accepted}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{name} can't be called without arguments: {error}") from error
    with isolated_rng(0):  # initial weights are the same every time
        made = function(**arguments)
    model, task, example_inputs = _parts(name, made)
    if checkpoint is not None:
        put_checkpoint(model, checkpoint)
    trained = name in BUILT_IN["recipes"] and "pretrained" in accepted
    return Inspected(name, model.eval(), task, example_inputs, checkpoint, trained)


def _parts(name: str, made: Any) -> tuple[nn.Module, Task | None, Any]:
    if isinstance(made, tuple) and made and isinstance(made[0], nn.Module):
        if len(made) == 3 and isinstance(made[1], Task):
            return made[0], made[1], made[2]
        if len(made) == 2:
            return made[0], None, made[1]
    kinds = ", ".join(type(part).__name__ for part in made) if isinstance(made, tuple) else type(made).__name__
    raise ConfigError(
        f"{name} must return (model, example_inputs) or (model, evoprune.Task, example_inputs), not {kinds}"
    )
