"""Whether a network that was rebuilt is the finished one: what stands on its modules, and what it computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.errors import EvopruneError
from evoprune.nn_utils.calling import call_model, undisturbed
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import compare
from evoprune.rng import isolated_rng
from evoprune.store.descriptions import first_difference
from evoprune.store.module_settings import Document, Settings, read_settings, values_of

_SEED = 20240807
_MOST_TRIALS = 16


@torch.inference_mode(False)
def difference(rebuilt: nn.Module, finished: nn.Module, settings: Settings, example_inputs: Any) -> str:
    """What tells `rebuilt` from `finished`, in words; empty where nothing does.

    Args:
        rebuilt: On the CPU; it may be changed.
        finished: Left as it is.
        settings: Settings of `finished`.
        example_inputs: Outputs are compared on these and, since zeros hide much, on the same with noise; None: no outputs.
    """
    lacking = settings.differing_from([read_settings(rebuilt)])
    for values in (lacking.attributes, lacking.buffers):
        for path, names in values.items():
            return f"{path}.{next(iter(names))} can't be set again".lstrip(".")
    if example_inputs is None:
        return ""
    device = next((tensor.device for tensor in finished.parameters()), torch.device("cpu"))
    one, other = rebuilt.to(device).eval(), clone(finished).eval()
    return _first_output_difference(one, other, example_inputs)


@torch.inference_mode(False)
def settle(model: nn.Module, given: nn.Module, example_inputs: Any) -> None:
    """Take off `model`, in place, the tensors that running has left on it: activations, states, caches of some batch's shape.

    In their place comes what `given` has, which could run as well. They stay where the network computes something else without
    them, as a layer does that measures its first batch.

    Args:
        model: A network that ran.
        given: The same before it ran, of the same sizes.
        example_inputs: Inputs of a forward pass that shows whether it matters.
    """
    left = list(_left_by_running(model, given))
    if not left:
        return
    settled = clone(model)
    for path, name, value in left:
        _restore(settled.get_submodule(path), name, value)
    if example_inputs is None or not _output_difference(settled.eval(), clone(model).eval(), example_inputs):
        for path, name, value in left:
            _restore(model.get_submodule(path), name, value)


@torch.inference_mode(False)
def complete_settings(model: nn.Module, given: nn.Module | None, example_inputs: Any) -> Settings:
    """The settings of a network of which nothing is known that rebuilds it: with all that whoever builds it has to set.

    Args:
        model: The network.
        given: The same before it ran; things that running has changed are left out of those that must be set.
        example_inputs: Inputs of a forward pass that shows which hooks matter; none do without them.
    """
    settings = read_settings(model)
    before = settings.others if given is None else read_settings(given).others
    steady = {
        path: {
            name: value
            for name, value in values.items()
            if not first_difference(value, before.get(path, {}).get(name), name)
        }
        for path, values in settings.others.items()
    }
    if example_inputs is None:
        return replace(settings, others=steady)
    return replace(settings, others=_read_by(model, steady, example_inputs), hooks=_hooks_of(model, example_inputs))


def _read_by(model: nn.Module, others: Document, example_inputs: Any) -> Document:
    """The attributes of `others` that make a difference to the outputs, as long as there are few enough to try one by one."""
    places = [(path, name) for path, values in others.items() for name in values if name != "forward"]
    found: dict[str, dict[str, Any]] = {path: dict(values) for path, values in others.items()}
    for path, name in places if len(places) <= _MOST_TRIALS else ():
        without = clone(model).eval()
        vars(without.get_submodule(path)).pop(name, None)
        if not _first_output_difference(without, clone(model).eval(), example_inputs):
            del found[path][name]
    return found


def _hooks_of(model: nn.Module, example_inputs: Any) -> tuple[str, ...]:
    """Modules with forward hooks, if the network computes something else without them."""
    hooked = [path for path, one in model.named_modules() if one._forward_hooks or one._forward_pre_hooks]
    if not hooked:
        return ()
    bare = clone(model).eval()
    for module in bare.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return tuple(hooked) if _first_output_difference(bare, clone(model).eval(), example_inputs) else ()


_GONE = object()


def _left_by_running(model: nn.Module, given: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """`(path, attribute, what there was before)` of tensors, alone or in containers, whose form is another than before."""
    before = dict(given.named_modules(remove_duplicate=False))
    for path, module in model.named_modules(remove_duplicate=False):
        held = dict(values_of(before[path])) if path in before else {}
        for name, value in values_of(module):
            known = held.get(name, _GONE)
            holds_tensors = next(tensors_in(value), None) is not None if _is_container(value) else False
            if holds_tensors and not _same_form(value, known):
                yield path, name, known


def _restore(module: nn.Module, name: str, value: Any) -> None:
    if value is _GONE:
        vars(module).pop(name, None)
    else:
        vars(module)[name] = copy.deepcopy(value)


def _is_container(value: Any) -> bool:
    return isinstance(value, (Tensor, list, tuple, Mapping, set))


def _same_form(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.shape == other.shape
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping) and one.keys() == other.keys() and all(_same_form(one[k], other[k]) for k in one)
        )
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(_same_form, one, other))
    return not _is_container(other)


def _noisy(inputs: Any) -> Any:
    generator = torch.Generator().manual_seed(_SEED)

    def disturbed(tensor: Tensor) -> Tensor:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return tensor
        return tensor + torch.randn(tensor.shape, generator=generator).to(tensor)

    return map_tensors(inputs, disturbed)


def _first_output_difference(one: nn.Module, other: nn.Module, example_inputs: Any) -> str:
    found = (_output_difference(one, other, inputs) for inputs in (example_inputs, _noisy(example_inputs)))
    return next(filter(None, found), "")


def _output_difference(one: nn.Module, other: nn.Module, inputs: Any) -> str:
    """How far the outputs are apart, in words; empty where they agree, or where `other` can't run."""
    try:
        expected = _outputs(other, inputs)
    except Exception:  # whatever a model may raise
        return ""
    try:
        found = compare(_outputs(one, inputs), expected)
    except Exception as error:
        text = error.message if isinstance(error, EvopruneError) else f"{type(error).__name__}: {error}"
        return f"it can't run as the finished one does: {text:.200}"
    return "" if found.agrees else f"its outputs differ by {found.relative:.2g} of the largest"


def _outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    with undisturbed(model), isolated_rng(_SEED):
        return [tensor.detach() for tensor in tensors_in(call_model(model, inputs))]
