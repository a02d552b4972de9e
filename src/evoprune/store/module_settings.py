"""What a network is besides its weights: plain data on its modules, buffers that no state dict holds, and what can't be saved."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor, nn

from evoprune.store.descriptions import describe, first_difference, identify
from evoprune.store.plain_data import NotPlainError, encode

INTERNAL: Final = frozenset(vars(nn.Module())) | {"training", "forward", "call_super_init", "dump_patches"}
"""Names by which `nn.Module` works: hooks, parameters, buffers, parts, mode."""

Document = Mapping[str, Mapping[str, Any]]
"""Per module its attributes, as `plain_data.encode` writes them."""


@dataclass(frozen=True)
class Settings:
    """What stands on the modules of one network.

    Attributes:
        kinds: Class of each module that is torch's own, by path: those of the user's may have other names elsewhere.
        attributes: Plain data set on modules.
        constants: Plain data of the modules' classes, torch's own apart.
        buffers: Buffers that are not part of the state dict.
        trained: Whether gradients reach a parameter, by name.
        others: Descriptions, by `descriptions.describe`, of attributes that are no plain data.
        functions: The user's own functions that stand on modules.
        hooks: Modules whose forward hooks change what the network computes; only looked into where nothing rebuilds it.
        tensors: All that the documents name, by digest.
    """

    kinds: Mapping[str, str]
    attributes: Document
    constants: Document
    buffers: Document
    trained: Mapping[str, bool]
    others: Document
    functions: Document
    tensors: Mapping[str, Tensor] = field(default_factory=dict, compare=False)
    hooks: tuple[str, ...] = ()

    def differing_from(self, bases: Iterable[Settings]) -> Settings:
        """What one of the bases has otherwise or not at all; class constants as they are, for code changes between processes."""
        known = tuple(bases)
        return Settings(
            self.kinds,
            _differing(self.attributes, [base.attributes for base in known]),
            self.constants,
            _differing(self.buffers, [base.buffers for base in known]),
            {
                name: value
                for name, value in self.trained.items()
                if any(base.trained.get(name) != value for base in known)
            },
            {},
            {},
            self.tensors,
        )

    def missing_in(self, base: Settings) -> list[str]:
        """What `base` has otherwise and no plain data can mend, as `path.attribute is ..., not ...`."""
        found = [
            f"{path or 'it'} is {_article(base.kinds.get(path, 'nothing'))}, not {_article(kind)}"
            for path, kind in self.kinds.items()
            if base.kinds.get(path) != kind
        ]
        for mine, other in ((self.others, base.others), (self.functions, base.functions)):
            for path, values in mine.items():
                for name, value in values.items():
                    # What is new may be read by nobody; outputs tell. A `forward` of its own is read by everybody.
                    if name == "forward" or name in base.names_at(path):
                        place = first_difference(value, other.get(path, {}).get(name), _joined(path, name))
                        found += [f"{place} is another"] if place else []
        for path in base.attributes:
            gone = base.attributes[path].keys() - self.names_at(path)
            found += [f"{_joined(path, name)} is gone" for name in sorted(gone)]
        return found

    def names_at(self, path: str) -> set[str]:
        """Names of all that was set on a module."""
        return {*self.attributes.get(path, ()), *self.others.get(path, ())}


def read_settings(model: nn.Module) -> Settings:
    """What stands on the modules of `model`; nothing is copied."""
    shared = addresses_of([*model.parameters(), *model.buffers()])
    tensors: dict[str, Tensor] = {}
    kinds: dict[str, str] = {}
    attributes: dict[str, dict[str, Any]] = {}
    constants: dict[str, dict[str, Any]] = {}
    buffers: dict[str, dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    functions: dict[str, dict[str, Any]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if _is_torchs(type(module)):
            kinds[path] = type(module).__name__
        for name, value in values_of(module):
            try:
                attributes.setdefault(path, {})[name] = encode(value, tensors, shared=shared)
            except NotPlainError:
                others.setdefault(path, {})[name] = describe(value, shared)
                if identify(value):
                    functions.setdefault(path, {})[name] = identify(value)
        constants[path] = dict(_constants_of(type(module), tensors))
        names = sorted(module._non_persistent_buffers_set)
        own = {name: module._buffers[name] for name in names if module._buffers.get(name) is not None}
        buffers[path] = {name: encode(value.detach(), tensors) for name, value in own.items() if value is not None}
    return Settings(
        kinds,
        {path: values for path, values in attributes.items() if values},
        {path: values for path, values in constants.items() if values},
        {path: values for path, values in buffers.items() if values},
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        others,
        functions,
        tensors,
    )


def addresses_of(tensors: Iterable[Tensor]) -> set[int]:
    """Addresses of the memory that tensors lie in."""
    real = [tensor for tensor in tensors if tensor.device.type != "meta" and tensor.numel()]
    return {tensor.untyped_storage().data_ptr() for tensor in real}


def values_of(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The attributes that were set on a module, those in `__slots__` included, apart from what torch keeps there."""
    yield from ((name, value) for name, value in vars(module).items() if name not in INTERNAL)
    if "forward" in vars(module):
        yield "forward", vars(module)["forward"]
    for kind in type(module).__mro__:
        for name, slot in vars(kind).items():
            if isinstance(slot, types.MemberDescriptorType) and hasattr(module, name):
                yield name, getattr(module, name)


def _constants_of(kind: type, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Any]]:
    for base in reversed([one for one in kind.__mro__ if issubclass(one, nn.Module) and not _is_torchs(one)]):
        for name, value in vars(base).items():
            if (
                not name.startswith("_")
                and name not in INTERNAL
                and not isinstance(value, (Tensor, types.FunctionType))
            ):
                try:
                    yield name, encode(value, tensors)
                except NotPlainError:
                    continue


def _is_torchs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def _differing(ours: Document, bases: Iterable[Document]) -> Document:
    found: dict[str, dict[str, Any]] = {}
    for path, values in ours.items():
        for name, value in values.items():
            # As JSON would tell them apart: 1, 1.0 and True are three values.
            if any(repr(base.get(path, {}).get(name, ...)) != repr(value) for base in bases):
                found.setdefault(path, {})[name] = value
    return found


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}" if kind != "nothing" else kind
