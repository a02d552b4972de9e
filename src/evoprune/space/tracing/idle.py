"""Layers that the example inputs, or evaluation mode, leave out: nothing is known about what they read and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from evoprune.nn_utils.prune_hooks import stored_name
from evoprune.space.tracing.labels import Couplings, Vector

_NOT_RUN = "is not run by the example inputs in evaluation mode"


def list_idle(
    model: nn.Module,
    ran: Collection[str],
    is_known: Callable[[Tensor], bool],
    seen: Mapping[str, Mapping[int, Vector]],
    couplings: Couplings,
) -> None:
    """Name the layers that did not run, and freeze what they could be given or could be added to.

    A part of the model that lies idle, such as the other branch of an `if` or an auxiliary classifier, may run later. So that it
    still fits then, dimensions as long as what its first layer reads or its last layer makes stay as they are, if the code of the
    module that it belongs to has them in hand: they are what could be given to it, or come together with what it makes.

    Args:
        model: The model that was traced.
        ran: Names of the modules that have run.
        is_known: Whether the trace came across a parameter.
        seen: `{module: {key: label}}`, labels of what went through the very code of a module.
        couplings: Receives names and freezes.
    """
    for path, part in _idle_parts(model, "", ran):
        layers = _layers(path, part, is_known)
        couplings.blind.extend((name, _NOT_RUN) for name, _, weight in layers if weight.dim() > 1)
        for length, layer in (
            [(_reads(*layers[0][1:]), layers[0][0]), (_makes(*layers[-1][1:]), layers[-1][0])] if layers else ()
        ):
            for atoms in _in_hand_around(path, ran, seen):
                if len(atoms) == length > 1:
                    couplings.freeze(atoms, f"is as wide as {layer}, which {_NOT_RUN} and may need it")


def has_idle_layers(model: nn.Module, ran: Collection[str], is_known: Callable[[Tensor], bool]) -> bool:
    """Whether there are layers that did not run."""
    return any(_layers(path, part, is_known) for path, part in _idle_parts(model, "", ran))


def _layers(path: str, part: nn.Module, is_known: Callable[[Tensor], bool]) -> list[tuple[str, nn.Module, Tensor]]:
    """`(name, layer, weight)` of the layers in a part that the trace didn't come across."""
    return [
        (f"{path}.{name}".strip("."), layer, weight)
        for name, layer in part.named_modules()
        if (weight := _weight(layer)) is not None and not is_known(weight)
    ]


def _in_hand_around(path: str, ran: Collection[str], seen: Mapping[str, Mapping[int, Vector]]) -> Collection[Vector]:
    """Labels in the code of the module that a part belongs to: the nearest around it that runs."""
    while path:
        path = path.rpartition(".")[0]
        if path in ran:
            return seen.get(path, {}).values()
    return ()


def _idle_parts(module: nn.Module, path: str, ran: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """The largest parts of `module` in which nothing ran. Lists and dicts of modules are never run themselves."""
    for name, child in module.named_children():
        inner = f"{path}.{name}".strip(".")
        if inner in ran:
            if not isinstance(child, nn.MultiheadAttention):  # uses its output layer without running it
                yield from _idle_parts(child, inner, ran)
        elif isinstance(child, (nn.ModuleList, nn.ModuleDict)) or any(other.startswith(f"{inner}.") for other in ran):
            yield from _idle_parts(child, inner, ran)
        else:
            yield inner, child


def _weight(layer: nn.Module) -> Tensor | None:
    """The layer's weight, or the first of its parameters, or statistics as long as it is wide."""
    own = dict(layer.named_parameters(recurse=False))
    statistics = layer.running_mean if isinstance(layer, _NormBase) else None
    return own.get(stored_name(layer, "weight"), next(iter(own.values()), statistics))


def _reads(layer: nn.Module, weight: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        return layer.in_channels
    return 0 if isinstance(layer, nn.Embedding) or not weight.dim() else weight.shape[min(1, weight.dim() - 1)]


def _makes(layer: nn.Module, weight: Tensor) -> int:
    if isinstance(layer, _ConvTransposeNd):
        return layer.out_channels
    if isinstance(layer, nn.RNNBase):
        return layer.hidden_size * (1 + layer.bidirectional)
    return 0 if not weight.dim() else weight.shape[1 if isinstance(layer, nn.Embedding) else 0]
