"""What of a network's outputs its user goes by: all of it, parts by name, or what a function makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Union

from torch import Tensor

from evoprune.data.trees import tensors_in
from evoprune.errors import UsageError
from evoprune.metrics.outputs import kind_of
from evoprune.plugins import import_object

Gather = Callable[[Any], list[Tensor]]
"""Takes what a network returns, gives the tensors that count."""

Outputs = Union[str, int, Sequence[str | int], Callable[[Any], Any], "UsedOutputs", None]
"""How a user says it; `UsedOutputs.of` explains."""


@dataclass(frozen=True)
class UsedOutputs:
    """The part of a network's outputs that is used; calling it gives the tensors there.

    Attributes:
        paths: Names of parts; none where a function chooses, or everything counts.
        function: Chooses instead.
    """

    paths: tuple[str | int, ...] = ()
    function: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, given: Outputs) -> UsedOutputs:
        """What a user means.

        Args:
            given: None for everything; the name of an attribute or key, such as `"logits"`; an index; several of these joined by
                dots, such as `"1.boxes"`; a list of such parts; a function of the outputs, or its import path
                `"package.module:function"`.

        Raises:
            UsageError: It is none of these.
            ConfigError: There is no such function.
        """
        if given is None or isinstance(given, UsedOutputs):
            return given or cls()
        if isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        if isinstance(given, str) and ":" in given:
            given = import_object(given)
        if callable(given):
            return cls(function=given)
        parts = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not parts or not all(isinstance(part, (str, int)) and not isinstance(part, bool) for part in parts):
            raise UsageError(
                f"outputs={given!r} names no part of a network's outputs",
                "give a name such as 'logits', an index, a path such as '1.boxes', a list of these, or a function of the outputs",
            )
        return cls(paths=parts)

    @property
    def everything(self) -> bool:
        """Whether all outputs count."""
        return not self.paths and self.function is None

    def __call__(self, outputs: Any) -> list[Tensor]:
        """The tensors that count, in a stable order.

        Raises:
            UsageError: The outputs have no such part, or it holds no tensor.
        """
        if self.everything:
            return list(tensors_in(outputs))
        chosen = self._made(outputs) if self.function else [_part(outputs, path) for path in self.paths]
        found = list(tensors_in(chosen))
        if not found:
            raise UsageError(f"{self} of the model's outputs holds no tensor")
        return found

    def __str__(self) -> str:
        if self.function is not None:
            return f"outputs={getattr(self.function, '__name__', type(self.function).__name__)}"
        named = [repr(path) for path in self.paths]
        return f"outputs={named[0]}" if len(named) == 1 else f"outputs=[{', '.join(named)}]"

    def _made(self, outputs: Any) -> Any:
        assert self.function is not None
        try:
            return self.function(outputs)
        except Exception as error:
            raise UsageError(
                f"{self} fails on what the model returns, {kind_of(outputs)}: {type(error).__name__}: {error}"
            ) from error


EVERYTHING: Final = UsedOutputs()


class Forgiving:
    """The tensors that count, or all where the outputs have no such part, as in training they may not.

    Args:
        used: Part that counts.

    Attributes:
        gave_up: Whether it was all.
    """

    def __init__(self, used: UsedOutputs) -> None:
        self._used = used
        self.gave_up = False

    def __call__(self, outputs: Any) -> list[Tensor]:
        """The tensors, in a stable order."""
        try:
            return self._used(outputs)
        except UsageError:
            self.gave_up = True
            return list(tensors_in(outputs))


def _part(outputs: Any, path: str | int) -> Any:
    """What a path leads to; a key or attribute may have dots or digits in its name."""
    found = outputs
    whole = _child(found, path)
    if whole is not _ABSENT:
        return whole
    for step in str(path).split("."):
        inner = _child(found, step)
        if inner is _ABSENT:
            raise UsageError(f"outputs={path!r}: there is no {step!r} in {_described(found)}")
        found = inner
    return found


_ABSENT: Final = object()


def _child(node: Any, step: str | int) -> Any:
    number = int(step) if isinstance(step, int) or step.lstrip("-").isdecimal() else None
    if isinstance(node, Tensor):
        return _ABSENT
    if isinstance(node, Mapping):
        for key in (step, number):
            if key is not None and key in node:
                return node[key]
    if number is not None and (isinstance(node, (tuple, list)) or hasattr(node, "to_tuple")):
        # Outputs of transformers' models are mappings that count their items as well.
        items = node if isinstance(node, (tuple, list)) else node.to_tuple()
        return items[number] if -len(items) <= number < len(items) else _ABSENT
    return getattr(node, step, _ABSENT) if isinstance(step, str) and step.isidentifier() else _ABSENT


def _described(node: Any) -> str:
    if isinstance(node, (Tensor, Mapping, tuple, list)) or node is None:
        return kind_of(node)
    names = [name for name in vars(node) if not name.startswith("_")] if hasattr(node, "__dict__") else []
    return f"{kind_of(node)} with {', '.join(names)}" if names else kind_of(node)
