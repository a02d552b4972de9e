"""Reductions, poolings and the like: what is reduced over can't be cut, the rest goes on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.computed import passes_statistics, passes_sum
from evoprune.space.tracing.rules.registry import rule


@rule("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "linalg_vector_norm", "norm", "prod", "logsumexp",
      "any", "all", "max", "min", "argmax", "argmin", "aminmax", "median", "nansum", "count_nonzero")  # fmt: skip
def reduce(call: Call) -> None:
    """Drop, or keep at size 1, the dimensions that are reduced."""
    source = call.operands[0]
    dims = call.dims(source)
    for other in call.operands[1:]:
        call.freeze_dims(call.dims(other), "is compared")
    reduced = _reduced(call, source.dim())
    mixed = {dim: dims.pop(dim) for dim in sorted(reduced & dims.keys())}
    of_weights = passes_sum(call, mixed) or (_is_statistic(call) and passes_statistics(call, mixed))
    if not of_weights:
        call.freeze_dims(mixed, "is mixed over all its channels")
    if len(call.operands) > 1:
        call.freeze_dims(dims, "is compared")
        return
    keeps = bool(call.arg("keepdim", False))
    call.put_all({
        dim if keeps else dim - sum(other < dim for other in reduced): atoms for dim, atoms in dims.items()
    })  # fmt: skip


def _is_statistic(call: Call) -> bool:
    return str(call.func).split(".")[1] in {"mean", "var", "std", "var_mean", "std_mean"}


def _reduced(call: Call, rank: int) -> set[int]:
    along = call.arg("dim")
    if along is None or (isinstance(along, Sequence) and not along):
        return set(range(rank))
    return {dim % rank for dim in (along if isinstance(along, Sequence) else [along])}


@rule("_softmax", "_log_softmax", "softmax", "log_softmax", "_safe_softmax", "cumsum", "cumprod", "sort", "topk", "logcumsumexp",
      "cummax", "cummin", "kthvalue")  # fmt: skip
def along_one(call: Call) -> None:
    """Every position along the dimension depends on all others."""
    source = call.operands[0]
    dims = call.dims(source)
    along = call.arg("dim", -1) % max(1, source.dim())
    if along in dims:
        call.freeze(dims.pop(along), "is mixed over all its channels")
    if call.arg("keepdim") is False:
        dims = {dim - (dim > along): atoms for dim, atoms in dims.items()}
    call.put_all(dims)


_RANK = re.compile(r"(\d)d")
_POOLS = [
    f"{kind}{rank}d{tail}"
    for rank in (1, 2, 3)
    for kind, tail in (
        ("max_pool", ""), ("max_pool", "_with_indices"), ("avg_pool", ""), ("_adaptive_avg_pool", ""), ("adaptive_avg_pool", ""),
        ("adaptive_max_pool", ""), ("mkldnn_max_pool", ""), ("upsample_nearest", ""), ("_upsample_nearest_exact", ""),
        ("fractional_max_pool", ""), ("max_unpool", ""),
    )
]  # fmt: skip


@rule(*_POOLS, "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
      "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "mkldnn_adaptive_avg_pool2d",
      "grid_sampler_2d", "grid_sampler_3d")  # fmt: skip
def pool(call: Call) -> None:
    """The last dimensions are pooled or resampled, batch and channels go on."""
    source = call.operands[0]
    rank = int(_RANK.findall(str(call.func))[0])
    dims: Dims = call.dims(source)
    for dim in [dim for dim in dims if dim >= source.dim() - rank]:
        call.freeze(dims.pop(dim), "is pooled over")
    for other in call.operands[1:]:
        call.freeze_dims(call.dims(other), "steers a resampling")
    call.put_all(dims)
