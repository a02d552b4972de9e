"""FLOPs, two for each multiply-accumulate, of the operations that torch's registry counts as nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from evoprune.nn_utils.quantised import unpacked

Formula = Callable[..., int]


def _recurrent_layer(source: Tensor, input_weight: Tensor, hidden_weight: Tensor, *_: Any, **__: Any) -> int:
    """One layer and direction of an LSTM: [t, n, i], [4h, i], [4h, h]."""
    return 2 * source.shape[0] * source.shape[1] * (input_weight.numel() + hidden_weight.numel())


def _recurrent_stack(source: Tensor, weights: list[Tensor], *_: Any, **__: Any) -> int:
    """All layers and directions: every weight matrix once per token."""
    return 2 * source.numel() // source.shape[-1] * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _packed_stack(source: Tensor, *arguments: Any, **_: Any) -> int:
    """The same of matrices that are packed away."""
    cells = next(one for one in arguments if isinstance(one, (list, tuple)) and not isinstance(one[0], Tensor))
    matrices = [tensor for tensor in unpacked(cells) if tensor.dim() == 2]
    return 2 * source.numel() // source.shape[-1] * sum(matrix.numel() for matrix in matrices)


def _with_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    """[m, n] @ [n], or [n] with [n]."""
    return 2 * matrix.numel()


def _added_with_vector(_added: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    """[m] + [m, n] @ [n]."""
    return 2 * matrix.numel()


def _matrices(first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    """[m, k] @ [k, n], of a sparse one its own entries alone."""
    if second.layout != torch.strided:
        return 2 * int(first.shape[-2]) * _entries(second)
    return 2 * _entries(first) * int(second.shape[-1])


def _in_groups(first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    """Rows of [m, k], each by one of [g, k, n]."""
    return 2 * first.numel() * int(second.shape[-1])


def _entries(matrix: Tensor) -> int:
    return matrix.numel() if matrix.layout == torch.strided else int(matrix._nnz())


def _added(_added_one: Tensor, first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    """[m, n] + [m, k] @ [k, n], or [m, n] + [b, m, k] @ [b, k, n], summed over b."""
    return _matrices(first, second)


def _linear(source: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """[..., i] by a weight in any storage -> [..., o]."""
    return 2 * out_val.numel() * source.shape[-1]


def _trilinear(
    first: Tensor,
    second: Tensor,
    third: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    summed: Sequence[int],
    *_: Any,
    **__: Any,
) -> int:
    """`nn.Bilinear`: [n, 1, i, 1] by [1, o, i, j], summed over i, and that by [n, 1, 1, j], summed over j -> [n, o].

    So does ATen: the first two are contracted over what the third is expanded along, then the result with the third.
    """
    shapes = [_unsqueezed(first, expand1), _unsqueezed(second, expand2), _unsqueezed(third, expand3)]
    full: list[int] = [max(sizes) for sizes in zip(*shapes, strict=True)]
    early = set(summed) & set(expand3)
    left = [size for dim, size in enumerate(full) if dim not in early]
    return 2 * (math.prod(full) + math.prod(left))


def _unsqueezed(tensor: Tensor, dims: Sequence[int]) -> list[int]:
    shape = list(tensor.shape)
    for dim in sorted(dims):
        shape.insert(dim, 1)
    return shape


def _distances(first: Tensor, _second: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """`cdist`, [..., m, d] and [..., n, d] -> [..., m, n]: one step for each pair and coordinate, whatever the norm."""
    return 2 * out_val.numel() * first.shape[-1]


def _own_distances(points: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """`pdist`, [n, d] -> [n (n - 1) / 2]."""
    return 2 * out_val.numel() * points.shape[-1]


def _time_first_convolution(_source: Tensor, weight: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """`conv_tbc`: [t, b, i] by [k, i, o] -> [t', b, o]."""
    return 2 * out_val.numel() * weight.shape[0] * weight.shape[1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """[..., heads, s, d], [..., t, d], [..., t, e]: scores and mixture, of whole rectangles though a mask may spare some."""
    return 2 * query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _affine_grid(theta: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """[n, 2, 3] by the places of a grid [h w, 3] -> [n, h, w, 2], or one dimension more of each."""
    return 2 * out_val.numel() * theta.shape[-1]


def _weighted_bag(weight: Tensor, indices: Tensor, *arguments: Any, **named: Any) -> int:
    """`embedding_bag`: its rows are only added up, but for those with weights of their own."""
    weights = arguments[4] if len(arguments) > 4 else named.get("per_sample_weights")
    return 0 if weights is None else 2 * indices.numel() * weight.shape[-1]


def _packed_convolution(_source: Tensor, packed: Any, *_: Any, out_val: Tensor, **__: Any) -> int:
    """A convolution of integers, the weight [o, i / groups, *kernel] packed away."""
    return 2 * out_val.numel() * _inside(packed)


def _packed_transposed(source: Tensor, packed: Any, *_: Any, **__: Any) -> int:
    """The same, transposed, with the weight [i, o / groups, *kernel]."""
    return 2 * source.numel() * _inside(packed)


def _inside(packed: Any) -> int:
    """Weights of each place along the first dimension."""
    weight = next(unpacked(packed))
    return math.prod(weight.shape[1:])


def _named(names: str, formula: Formula, namespace: str = "aten") -> dict[str, Formula]:
    return {f"{namespace}::{name}": formula for name in names.split()}


FORMULAS: Final[dict[str, Formula]] = {
    **_named("mkldnn_rnn_layer", _recurrent_layer),
    **_named("_cudnn_rnn miopen_rnn", _recurrent_stack),
    **_named("quantized_lstm quantized_gru", _packed_stack),
    **_named("mv dot vdot", _with_vector),
    **_named("addmv", _added_with_vector),
    **_named("_grouped_mm", _in_groups),
    **_named("mm _int_mm _sparse_mm", _matrices),
    **_named("addmm addbmm _addmm_activation _sparse_addmm", _added),
    **_named("linear mkldnn_linear _weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu", _linear),
    **_named(
        "_weight_int4pack_mm_with_scales_and_zeros _dyn_quant_matmul_4bit _sparse_semi_structured_linear", _linear
    ),
    **_named("_trilinear", _trilinear),
    **_named("_cdist_forward _euclidean_dist", _distances),
    **_named("_pdist_forward", _own_distances),
    **_named("conv_tbc", _time_first_convolution),
    **_named(
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable", _attention
    ),
    **_named("_scaled_dot_product_attention_math_for_mps", _attention),
    **_named("affine_grid_generator", _affine_grid),
    **_named("_embedding_bag _embedding_bag_forward_only", _weighted_bag),
    **_named(
        "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic", _linear, "quantized"
    ),
    **_named("linear_dynamic_fp16 linear_relu_dynamic_fp16 linear_unpacked_dynamic_fp16", _linear, "quantized"),
    **_named("conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu", _packed_convolution, "quantized"),
    **_named("conv1d_dynamic conv2d_dynamic conv3d_dynamic", _packed_convolution, "quantized"),
    **_named("conv_transpose1d conv_transpose2d conv_transpose3d", _packed_transposed, "quantized"),
    **_named(
        "conv_transpose1d_dynamic conv_transpose2d_dynamic conv_transpose3d_dynamic", _packed_transposed, "quantized"
    ),
}
"""By name, such as `aten::mv`."""
