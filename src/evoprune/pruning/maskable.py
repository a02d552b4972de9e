"""Which weights of a network may be masked, and how a user names them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Final

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from evoprune.errors import UsageError

_NORMS: Final = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_KINDS: Final[tuple[tuple[str, tuple[type[nn.Module], ...]], ...]] = (
    ("conv", (_ConvNd,)),
    ("linear", (nn.Linear, nn.Bilinear)),
    ("attention", (nn.MultiheadAttention,)),
    ("recurrent", (nn.RNNBase, nn.RNNCellBase)),
    ("embedding", (nn.Embedding, nn.EmbeddingBag)),
    ("norm", _NORMS),
)
_SHOWN: Final = 12
_PREFIX: Final = "module."


@dataclass(frozen=True)
class MaskableWeight:
    """One weight tensor whose single weights can be pruned.

    Attributes:
        name: Of the parameter, such as `conv1.weight`.
        layer: Of the module it belongs to, such as `conv1`; the parameter's name where the model itself holds it.
        shape: Of the parameter.
        kind: `conv`, `linear`, `attention`, `recurrent`, `embedding`, `norm`, or `other` for a module of the user's own.
        output_dim: Dimension of the output units: 1 in a transposed convolution, else 0.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    kind: str
    output_dim: int = 0

    @property
    def size(self) -> int:
        """Number of weights."""
        return prod(self.shape)


def maskable_weights(
    model: nn.Module, *, layers: Sequence[str] | None = None, include_norm_scales: bool = False
) -> tuple[MaskableWeight, ...]:
    """The weights of `model` that masks may prune, in the order of its parameters, a shared one once, under its first name.

    These are the parameters of two or more dimensions of convolutions, linear layers, attention, recurrent layers and embeddings,
    and of a user's own modules where they have more than one output and input. Biases are not.

    Args:
        model: Any module.
        layers: Names of layers or parameters, or patterns such as `layer1.*`; all when None. A `module.` in front, as
            `DataParallel` writes it, makes no difference.
        include_norm_scales: The scales of BatchNorm and other normalisation layers as well.

    Raises:
        UsageError: A name fits no layer, or one without weights; or the model has no maskable weight at all.
    """
    weights = tuple(_all_weights(model, include_norm_scales))
    if not weights:
        raise UsageError(
            f"{type(model).__name__} has no weights to mask", "masks are for parameters of two dimensions or more"
        )
    if layers is None:
        return weights
    chosen = {weight.name for pattern in layers for weight in _matching(pattern, weights, model)}
    return tuple(weight for weight in weights if weight.name in chosen)


def _all_weights(model: nn.Module, include_norm_scales: bool) -> Iterator[MaskableWeight]:
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        path, _, own_name = name.rpartition(".")
        if is_lazy(parameter):
            raise UsageError(f"{name} has no shape yet", "run the model once, so that its lazy layers know their sizes")
        kind = _kind_of(modules.get(path, model))
        if kind == "norm":
            wanted = include_norm_scales and own_name == "weight"
        else:
            # What is [1, tokens, width] or [channels, 1, 1] in a user's module is added or scales: no matrix.
            wanted = parameter.dim() >= 2 and (kind != "other" or min(parameter.shape[:2]) > 1)
        if wanted and not own_name.startswith("bias") and (parameter.is_floating_point() or parameter.is_complex()):
            transposed = isinstance(modules.get(path), _ConvTransposeNd)
            yield MaskableWeight(name, path or name, tuple(parameter.shape), kind, int(transposed))


def _kind_of(module: nn.Module) -> str:
    return next((kind for kind, classes in _KINDS if isinstance(module, classes)), "other")


def _matching(pattern: str, weights: Sequence[MaskableWeight], model: nn.Module) -> list[MaskableWeight]:
    wanted = pattern.removeprefix(_PREFIX)
    found = [
        weight
        for weight in weights
        if any(fnmatchcase(name.removeprefix(_PREFIX), wanted) for name in (weight.layer, weight.name))
    ]
    if not found:
        raise _no_such_layer(pattern, wanted, weights, model)
    return found


def _no_such_layer(pattern: str, wanted: str, weights: Sequence[MaskableWeight], model: nn.Module) -> UsageError:
    known = list(dict.fromkeys(weight.layer.removeprefix(_PREFIX) for weight in weights))
    module = {name.removeprefix(_PREFIX): module for name, module in model.named_modules() if name}.get(wanted)
    if module is not None:
        inside = [name for name in known if name.startswith(f"{wanted}.")]
        hint = f"for the layers inside it, write {wanted}.*" if inside else _listed(known)
        return UsageError(f"layer {pattern!r} ({type(module).__name__}) has no weights of its own to mask", hint)
    closest = difflib.get_close_matches(wanted, known, n=len(known), cutoff=0.0)
    return UsageError(f"there is no layer {pattern!r}", _listed(closest))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"layers with weights: {', '.join(names[:_SHOWN])}{more}"
