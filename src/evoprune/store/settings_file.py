"""Settings of a network on disk: JSON in `model.json` and tensors in a safetensors file, and their way onto a rebuilt network."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor, nn

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.nn_utils.weights import parse_weights, save_tensors
from evoprune.store.descriptions import describe, first_difference
from evoprune.store.module_settings import INTERNAL, Settings, addresses_of, values_of
from evoprune.store.plain_data import NotPlainError, decode, digests_in, encode

DOCUMENTS: Final = ("attributes", "constants", "buffers")

Copies = dict[str, list[Tensor]]


def settings_document(settings: Settings) -> dict[str, Any]:
    """The JSON part."""
    return {name: getattr(settings, name) for name in (*DOCUMENTS, "trained", "kinds", "others", "hooks")}


def settings_tensors(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The tensors that the document names, one for each place, as a safetensors file; empty where it names none."""
    seen: dict[str, int] = {}
    stored: dict[str, Tensor] = {}
    for digest in _digests(document):
        seen[digest] = seen.get(digest, 0) + 1
        stored[f"{digest}.{seen[digest]}"] = tensors[digest].cpu().resolve_conj().resolve_neg().clone().contiguous()
    return save_tensors(stored) if stored else b""


def read_copies(content: bytes, origin: str) -> Copies:
    """What `settings_tensors` wrote.

    Raises:
        StoreCorruptedError: The bytes are damaged.
    """
    copies: Copies = {}
    for name, value in sorted(parse_weights(content, origin).items()) if content else ():
        copies.setdefault(name.partition(".")[0], []).append(value)
    return copies


def apply_settings(model: nn.Module, document: Any, copies: Copies, origin: str) -> None:
    """Set on `model`, in place, what the document says.

    A document may come from anyone. It can set plain data where there is plain data or nothing, and nothing that torch or Python
    works by: no hooks, parameters, parts, methods, properties or names of the form `__x__`.

    Raises:
        UsageError: The model is another than the one that was saved.
        StoreCorruptedError: The document is damaged, or sets what is none of its business.
    """
    try:
        _check_kinds(model, document)
        modules = dict(model.named_modules(remove_duplicate=False))
        for path, name, value in _entries(document, "constants"):
            _set_constant(_known(modules, path), name, value, copies)
        for path, name, value in _entries(document, "attributes"):
            module = _known(modules, path)
            _check_settable(module, name)
            _put(module, name, decode(value, copies))
        for path, name, value in _entries(document, "buffers"):
            _set_buffer(_known(modules, path), name, decode(value, copies))
        parameters = dict(model.named_parameters())
        for name, flag in document.get("trained", {}).items():
            if type(flag) is not bool:
                raise TypeError(f"whether {name} is trained is no bool")
            parameters[name].requires_grad_(flag)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise StoreCorruptedError(f"the settings in {origin} can't be used: {type(error).__name__}: {error}") from error


def _check_kinds(model: nn.Module, document: Mapping[str, Any]) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    wrong = [
        f"{path or 'the network'} is {type(modules[path]).__name__ if path in modules else 'missing'}, it was {kind!s:.80}"
        for path, kind in document.get("kinds", {}).items()
        if path not in modules or type(modules[path]).__name__ != kind
    ]
    if not wrong:
        wrong = _missing_others(modules, document)
    if wrong:
        raise UsageError(
            f"the factory builds another network than the one that was saved: {wrong[0]:.300}",
            "pass the dense network as it was: evoprune.load(directory, model=my_dense_model)",
        )


def _missing_others(modules: Mapping[str, nn.Module], document: Mapping[str, Any]) -> list[str]:
    state = [tensor for module in modules.values() for tensor in module._parameters.values() if tensor is not None]
    shared = addresses_of(state)
    wrong = []
    for path, name, value in _entries(document, "others"):
        held = dict(values_of(_known(modules, path)))
        known = describe(held[name], shared) if name in held else None
        place = first_difference(value, known, f"{path}.{name}".lstrip("."))
        wrong += [f"{place:.200} is another"] if place else []
    wrong += [
        f"{path or 'it'} lacks the forward hooks that changed the outputs"
        for path in document.get("hooks", ())
        if not (_known(modules, path)._forward_hooks or _known(modules, path)._forward_pre_hooks)
    ]
    return wrong


def _digests(document: Mapping[str, Any]) -> Iterator[str]:
    for name in DOCUMENTS:
        for values in document[name].values():
            yield from digests_in(list(values.values()))


def _entries(document: Mapping[str, Any], name: str) -> Iterator[tuple[str, str, Any]]:
    for path, values in document.get(name, {}).items():
        for key, value in values.items():
            yield path, key, value


def _known(modules: Mapping[str, nn.Module], path: str) -> nn.Module:
    if path not in modules:
        raise KeyError(f"there is no module {path[:80]!r}")
    return modules[path]


def _set_constant(module: nn.Module, name: str, value: Any, copies: Copies) -> None:
    """Only where the class has another value now."""
    known = inspect.getattr_static(type(module), name, None)
    try:
        same = repr(encode(known, {})) == repr(value)
    except NotPlainError:
        return
    made = decode(value, copies)
    if not same and name not in vars(module):
        _check_settable(module, name)
        _put(module, name, made)


def _check_settable(module: nn.Module, name: str) -> None:
    """See that `name` is one for plain data: existing plain data, or nothing at all.

    Raises:
        ValueError: It isn't.
    """
    taken = {*INTERNAL, *module._parameters, *module._buffers, *module._modules}
    if not name.isidentifier() or (name.startswith("__") and name.endswith("__")) or name in taken:
        raise ValueError(f"{name[:80]!r} is not for plain data")
    known = inspect.getattr_static(type(module), name, None)
    if name in vars(module):
        known = vars(module)[name]
    elif isinstance(known, types.MemberDescriptorType):
        known = getattr(module, name, None)
    elif name in dir(nn.Module):
        raise ValueError(f"{name!r} is a method of every network")
    shared = addresses_of(module.parameters())
    try:
        encode(known, {}, shared=shared)
    except NotPlainError as error:
        raise ValueError(f"{name!r} holds no plain data: {error}") from error


def _put(module: nn.Module, name: str, value: Any) -> None:
    """Past `__setattr__` and properties: nothing of the module's own runs."""
    slot = inspect.getattr_static(type(module), name, None)
    if isinstance(slot, types.MemberDescriptorType):
        slot.__set__(module, value)
    else:
        vars(module)[name] = value


def _set_buffer(module: nn.Module, name: str, value: Any) -> None:
    known = module._buffers.get(name)
    if known is None or name not in module._non_persistent_buffers_set:
        raise ValueError(f"there is no buffer {name[:80]!r} outside the state dict")
    if type(value) is not Tensor or value.shape != known.shape:
        raise ValueError(f"buffer {name!r} is of another shape")
    module._buffers[name] = value
