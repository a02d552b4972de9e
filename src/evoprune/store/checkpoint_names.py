"""Names of weights that went through wrappers: `module.` of parallel training, `_orig_mod.` of `torch.compile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from torch import Tensor, nn

from evoprune.nn_utils.weights import weights_of

WRAPPERS: Final = frozenset({"module", "_orig_mod"})
"""Under which `DataParallel`, `DistributedDataParallel`, `AveragedModel` and `torch.compile` hold the network they wrap."""

_COUNTER: Final = "n_averaged"
"""Besides the network, `AveragedModel` holds how often it was updated."""

Names = Mapping[str, str]
"""From names in a file to names that a model may have."""


def without_wrappers(name: str) -> str:
    """`name` without the parts that wrappers add, wherever they stand."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def fit_names(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The same weights under the names that `model` has for them, where wrappers on either side make the difference.

    The first reading is taken whose names are those of the model, all of them and no other: as they are; without what all begin
    with; without the parts that wrappers add, in the file and in the model, if no two names become the same by that. So a
    network with a part of its own called `module` keeps it. Where no reading fits, the names come back as they are.
    """
    known = {name for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    needed = weights_of(model).keys()
    for names in _readings(weights, known):
        if needed <= set(names.values()) <= known:
            return {names[name]: value for name, value in weights.items() if name in names}
    return dict(weights)


def _readings(given: Iterable[str], known: Iterable[str]) -> Iterator[Names]:
    plain = list(_without_beginnings({name: name for name in given}))
    yield from plain
    unwrapped = _unique({name: without_wrappers(name) for name in known})
    if unwrapped is not None:
        original = {new: old for old, new in unwrapped.items()}
        for names in plain:
            bare = _unique({old: without_wrappers(new) for old, new in names.items()})
            if bare is not None:
                yield {old: original.get(new, new) for old, new in bare.items()}


def _without_beginnings(names: Names) -> Iterator[Names]:
    """`names`, and what is left of them without the part that all begin with, as often as there is one."""
    yield names
    while True:
        if any(name.startswith("module.") for name in names.values()):
            names = {old: new for old, new in names.items() if new != _COUNTER}
        first = {new.partition(".")[0] for new in names.values()}
        if len(first) != 1 or not all("." in new for new in names.values()):
            return
        names = {old: new.partition(".")[2] for old, new in names.items()}
        yield names


def _unique(names: Names) -> Names | None:
    return names if all(count == 1 for count in Counter(names.values()).values()) else None
