"""Masks that a user brings, from evoprune or from elsewhere, as a plan for a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from evoprune.errors import DataError, EvopruneError, InvalidPlanError, UsageError
from evoprune.mask_plan import HEADER, MaskPlan
from evoprune.masks.apply import check_masks_fit, plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.store import sparse_weights
from evoprune.store.checkpoint import read_checkpoint
from evoprune.store.checkpoint_names import without_wrappers
from evoprune.store.numpy_files import read_numpy
from evoprune.store.solutions import read_solution, read_solutions

ACCEPTED: Final = "a directory of solutions, .safetensors, .pth, .pt, .npz or .npy"

_SUFFIX: Final = "_mask"
_HEADER_BYTES: Final = 4096
_BYTES_PER_WEIGHT: Final = 32
"""That a `.npz` may hold: weights and masks of them, both in double precision, and room to spare."""
_SPARE_BYTES: Final = 1 << 20


def read_masks(path: Path, model: nn.Module) -> MaskPlan:
    """Read masks for `model` from a file or a directory of solutions.

    Apart from evoprune's own files, a file holds one array or tensor per weight, in which whatever is not zero keeps its weight:
    0/1 or bool masks, or the weights of a sparse network. Its names are those of parameters (`conv1.weight`), of masks that
    `torch.nn.utils.prune` makes (`conv1.weight_mask`), or of layers (`conv1`), each with or without the `module.` and
    `_orig_mod.` that wrappers add. A `.npy` goes by the name of the file. Where there are names of masks, they alone count.
    Biases and buffers are left out.

    Args:
        path: A directory of solutions, `.safetensors`, `.npz`, `.npy`, or `.pth` or `.pt`, which is read without running code.
        model: The network the masks are for.

    Raises:
        UsageError: The file is of no such kind or can't be read, or its names, shapes or values don't fit.
        StoreCorruptedError: One of evoprune's own files is damaged.
    """
    if path.is_dir():
        plan = read_solutions(path)
        if plan is None:
            raise UsageError(f"{path} holds no masks", f"accepted: {ACCEPTED}")
        return _checked(plan, model, path)
    if path.suffix == ".safetensors" and HEADER.encode() in _head(path):
        return _checked(read_solution(path), model, path)
    return _plan_from(_read_tensors(path, model), model, path)


def _checked(plan: MaskPlan, model: nn.Module, path: Path) -> MaskPlan:
    try:
        check_masks_fit(model, plan)
    except InvalidPlanError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error
    return plan


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise DataError(f"can't read the masks in {path}: {error}", f"accepted: {ACCEPTED}") from error


def _read_tensors(path: Path, model: nn.Module) -> dict[str, Tensor]:
    if path.suffix in (".npy", ".npz"):
        return _from_numpy(path, most_bytes=_SPARE_BYTES + _BYTES_PER_WEIGHT * _size(model))
    if path.suffix == ".safetensors" and sparse_weights.HEADER.encode() in _head(path):
        return sparse_weights.read_sparse_file(path, most_weights=_size(model))
    if path.suffix in (".safetensors", ".pth", ".pt"):
        return read_checkpoint(path, "masks")
    raise UsageError(f"{path} is no file of masks", f"accepted: {ACCEPTED}")


def _from_numpy(path: Path, *, most_bytes: int) -> dict[str, Tensor]:
    arrays = read_numpy(path, most_bytes=most_bytes)
    try:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    except TypeError as error:  # text, dates
        raise DataError(f"can't read the masks in {path}: {error}", "save arrays of numbers or bools") from error


def _size(model: nn.Module) -> int:
    """Numbers in the state of the model."""
    return sum(value.numel() for value in model.state_dict().values() if isinstance(value, Tensor))


def _plan_from(tensors: Mapping[str, Tensor], model: nn.Module, path: Path) -> MaskPlan:
    marked = {name: value for name, value in tensors.items() if name.endswith(_SUFFIX)}
    names = _Names(model)
    masks: dict[str, Tensor] = {}
    for name, value in (marked or tensors).items():
        parameter = names.parameter_of(name, path)
        if parameter is None:
            continue
        if value.is_floating_point() and bool(value.isnan().any()):
            raise UsageError(f"{path}: {name!r} has values that are not a number")
        mask = value != 0
        if parameter in masks and not torch.equal(mask, masks[parameter]):
            raise UsageError(f"{path} holds two different masks for {parameter!r}")
        masks[parameter] = mask
    if not masks:
        raise UsageError(f"{path} holds no masks for {type(model).__name__}", names.hint)
    try:
        return plan_of(model, masks)
    except EvopruneError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


class _Names:
    """Which parameter a name in a file stands for."""

    def __init__(self, model: nn.Module) -> None:
        first = {id(parameter): name for name, parameter in model.named_parameters()}
        every = dict(model.named_parameters(remove_duplicate=False))
        self._parameters = _with_bare_names({name: first[id(parameter)] for name, parameter in every.items()})
        weights = maskable_weights(model)
        self._maskable = {weight.name for weight in weights}
        layers = [weight.layer for weight in weights]
        self._layers = _with_bare_names(
            {weight.layer: weight.name for weight in weights if layers.count(weight.layer) == 1}
        )
        self._others = {form for name in model.state_dict() for form in (name, without_wrappers(name))}
        self.hint = f"its weights are: {', '.join(sorted(self._maskable)[:12])}"

    def parameter_of(self, name: str, path: Path) -> str | None:
        """The parameter's first name; None for what a state dict holds besides weights.

        Raises:
            UsageError: The model has nothing of this name.
        """
        bare = without_wrappers(name)
        if name.endswith(_SUFFIX):
            bases = [form.removesuffix(_SUFFIX) + end for end in ("", "_orig") for form in (name, bare)]
            found = next((self._parameters[base] for base in bases if base in self._parameters), None)
        else:
            places = [known.get(form) for form in (name, bare) for known in (self._parameters, self._layers)]
            found = next((place for place in places if place is not None), None)
            if found not in self._maskable and not self._others.isdisjoint((name, bare)):
                return None
        if found is None:
            raise UsageError(f"{path}: the model has no weight {name!r}", self.hint)
        return found


def _with_bare_names(known: Mapping[str, str]) -> dict[str, str]:
    """`known`, and the same under names without the parts that wrappers add, where only one comes to such a name."""
    bare: dict[str, set[str]] = {}
    for name, value in known.items():
        bare.setdefault(without_wrappers(name), set()).add(value)
    return {name: values.pop() for name, values in bare.items() if len(values) == 1} | dict(known)
