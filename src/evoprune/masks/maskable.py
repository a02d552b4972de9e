"""Which weights of a network may be masked, and how a user names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from evoprune.errors import UsageError
from evoprune.name_patterns import listed, names_it, nearest, one_or_more, plain
from evoprune.nn_utils.exclusion import excluded_tensors

_NORMS: Final = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_KINDS: Final[tuple[tuple[str, tuple[type[nn.Module], ...]], ...]] = (
    ("conv", (_ConvNd,)),
    ("linear", (nn.Linear, nn.Bilinear)),
    ("attention", (nn.MultiheadAttention,)),
    ("recurrent", (nn.RNNBase, nn.RNNCellBase)),
    ("embedding", (nn.Embedding, nn.EmbeddingBag)),
    ("norm", _NORMS),
)
_ORIGINALS: Final = ".parametrizations."


@dataclass(frozen=True)
class MaskableWeight:
    """One weight tensor whose single weights can be pruned.

    Attributes:
        name: Name of the parameter, such as `conv1.weight`.
        layer: Name of the module it belongs to, such as `conv1`; the parameter's name where the model itself holds it.
        shape: Shape of the parameter.
        kind: `conv`, `linear`, `attention`, `recurrent`, `embedding`, `norm`, or `other` for a module of the user's own.
        output_dim: Dimension of the output units: 1 in a transposed convolution, else 0.
        groups: Groups of a transposed convolution, whose weight is [inputs, outputs / groups, *kernel]: a place along
            dimension 1 is one output of every group, and the inputs of a group feed its own alone. 1 elsewhere.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    kind: str
    output_dim: int = 0
    groups: int = 1

    @property
    def size(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """[outputs, inputs that feed one, *kernel]: the shape of the weight with a row for every output of the layer."""
        if self.output_dim == 0:
            return self.shape
        return self.shape[1] * self.groups, self.shape[0] // self.groups, *self.shape[2:]

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the weight's own shape, in `rows_shape`."""
        if self.output_dim == 0:
            return values
        inputs, outputs, *kernel = self.shape
        by_group = values.reshape(self.groups, inputs // self.groups, outputs, *kernel)
        return np.swapaxes(by_group, 1, 2).reshape(self.rows_shape)

    def from_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in `rows_shape`, in the weight's own shape."""
        if self.output_dim == 0:
            return values
        inputs, outputs, *kernel = self.shape
        by_group = values.reshape(self.groups, outputs, inputs // self.groups, *kernel)
        return np.swapaxes(by_group, 1, 2).reshape(self.shape)


def maskable_weights(
    model: nn.Module,
    *,
    layers: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    include_norm_scales: bool = False,
) -> tuple[MaskableWeight, ...]:
    """The weights of `model` that masks may prune, in the order of its parameters, a shared one once, under its first name.

    These are the parameters of two or more dimensions of convolutions, linear layers, attention, recurrent layers and embeddings,
    and of a user's own modules where they have more than one output and input. Biases are not.

    Args:
        model: Any module.
        layers: Names of layers or parameters, or patterns such as `layer1.*`; all when None. A `module.` in front, as
            `DataParallel` writes it, makes no difference.
        exclude: Names or patterns of modules, with all that is in them, or of parameters that stay as they are.
        include_norm_scales: The scales of BatchNorm and other normalisation layers as well.

    Raises:
        UsageError: A name fits no layer, or one without weights; the model has no maskable weight at all, or all are excluded.
    """
    weights = tuple(_all_weights(model, include_norm_scales))
    if not weights:
        raise UsageError(
            f"{type(model).__name__} has no weights to mask", "masks are for parameters of two dimensions or more"
        )
    if layers is not None:
        chosen = {weight.name for pattern in one_or_more(layers) for weight in _matching(pattern, weights, model)}
        weights = tuple(weight for weight in weights if weight.name in chosen)
    return _without(weights, one_or_more(exclude), model)


def _without(
    weights: tuple[MaskableWeight, ...], patterns: Sequence[str], model: nn.Module
) -> tuple[MaskableWeight, ...]:
    """The weights that no pattern excludes."""
    excluded = excluded_tensors(model, patterns)
    left = tuple(weight for weight in weights if weight.name not in excluded)
    if weights and not left:
        raise UsageError(
            f"nothing is left to mask: {listed(patterns)} excludes all of {listed([one.name for one in weights])}",
            "exclude less, or name other layers",
        )
    return left


def _all_weights(model: nn.Module, include_norm_scales: bool) -> Iterator[MaskableWeight]:
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        path, _, own_name = name.rpartition(".")
        if is_lazy(parameter):
            raise UsageError(f"{name} has no shape yet", "run the model once, so that its lazy layers know their sizes")
        kind = _kind_of(modules.get(path, model))
        if kind == "norm":
            wanted = include_norm_scales and own_name.removesuffix("_orig") == "weight"
        else:
            # What is [1, tokens, width] or [channels, 1, 1] in a user's module is added or scales: no matrix.
            wanted = parameter.dim() >= 2 and (kind != "other" or min(parameter.shape[:2]) > 1)
        if wanted and not own_name.startswith("bias") and (parameter.is_floating_point() or parameter.is_complex()):
            transposed = _transposed(modules, path)
            groups = transposed.groups if transposed is not None else 1
            yield MaskableWeight(name, path or name, tuple(parameter.shape), kind, int(transposed is not None), groups)


def _transposed(modules: Mapping[str, nn.Module], path: str) -> _ConvTransposeNd | None:
    """The transposed convolution that the parameters at `path` are of, itself or as originals of its parametrised weight."""
    owner = modules.get(f".{path}".partition(_ORIGINALS)[0].removeprefix("."))
    return owner if isinstance(owner, _ConvTransposeNd) else None


def _kind_of(module: nn.Module) -> str:
    return next((kind for kind, classes in _KINDS if isinstance(module, classes)), "other")


def _matching(pattern: str, weights: Sequence[MaskableWeight], model: nn.Module) -> list[MaskableWeight]:
    found = [weight for weight in weights if any(names_it(pattern, name) for name in (weight.layer, weight.name))]
    if not found:
        raise _no_such_layer(pattern, weights, model)
    return found


def _no_such_layer(pattern: str, weights: Sequence[MaskableWeight], model: nn.Module) -> UsageError:
    known = list(dict.fromkeys(plain(weight.layer) for weight in weights))
    wanted = plain(pattern)
    module = {plain(name): module for name, module in model.named_modules() if name}.get(wanted)
    if module is not None:
        inside = [name for name in known if name.startswith(f"{wanted}.")]
        hint = f"for the layers inside it, write {wanted}.*" if inside else f"layers with weights: {listed(known)}"
        return UsageError(f"layer {pattern!r} ({type(module).__name__}) has no weights of its own to mask", hint)
    return UsageError(f"there is no layer {pattern!r}", f"layers with weights: {nearest(pattern, known)}")
