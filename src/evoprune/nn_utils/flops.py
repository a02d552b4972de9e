"""Which operations multiply and accumulate, and how often: torch's own formulas, ours, and what counts as nothing.

MACs are those of convolutions, matrix products and other contractions: sums over products of two tensors. What takes a bounded
number of multiplications for each element that it reads or writes counts as nothing: pointwise operations, data movement, random
numbers, comparisons, sorting, reductions of one tensor, softmax, normalisation, losses, pooling and resampling. An operation that
is neither counted nor known to be one of these is uncounted, and has to be named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import torch
from torch.utils.flop_counter import flop_registry

from evoprune.nn_utils.flop_formulas import FORMULAS, Formula

_NAMES: Final = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu _batch_norm_no_update _batch_norm_with_update
_batch_norm_with_update_functional _chunk_cat _coalesce _ctc_loss _embedding_bag _embedding_bag_forward_only
_fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
_fake_quantize_per_tensor_affine_cachemask_tensor_qparams _functional_assert_async _functional_sym_constrain_range
_functional_sym_constrain_range_for_size _fused_moving_avg_obs_fq_helper _jagged_to_padded_dense_forward _log_softmax
_masked_scale _native_batch_norm_legit _native_batch_norm_legit_functional _native_batch_norm_legit_no_training
_pack_padded_sequence _pad_circular _padded_dense_to_jagged_forward _philox_key_fold_in _philox_key_split
_philox_normal _philox_uniform _pin_memory _prelu_kernel _resize_output _safe_softmax _softmax
_sparse_coo_tensor_with_dims_and_tensors _spdiags _standard_gamma _thnn_fused_gru_cell _thnn_fused_lstm_cell _to_dense
_to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr _unique _unique2 _unsafe_index
_unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view _upsample_bicubic2d_aa
_upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d _weight_norm_interface abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d addr all amax amin aminmax any argmax argmin as_strided
as_strided_scatter avg_pool1d avg_pool2d avg_pool3d batch_norm bernoulli binary_cross_entropy
binary_cross_entropy_with_logits bincount block_diag bucketize cat cauchy celu channel_shuffle clone col2im complex
concat concatenate constant_pad_nd copy copysign count_nonzero cudnn_batch_norm cummax cummin cumprod cumsum
dequantize diag_embed diagonal_scatter dist dropout embedding embedding_renorm empty_like eq exponential
fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask feature_dropout fill flip
floor_divide fractional_max_pool2d fractional_max_pool3d full_like gather gcd ge gelu geometric glu grid_sampler_2d
grid_sampler_3d group_norm gt hardswish hardtanh heaviside histc huber_loss im2col index index_add index_copy
index_fill index_put index_reduce index_select isin kthvalue layer_norm lcm le leaky_relu lift linalg_cross
linalg_vector_norm log_normal log_sigmoid_forward log_softmax logcumsumexp logsumexp lt lu_unpack masked_fill
masked_scatter masked_select max max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
max_pool3d_with_indices max_unpool2d max_unpool3d mean median min miopen_batch_norm mish mkldnn_adaptive_avg_pool2d
mkldnn_max_pool2d mkldnn_max_pool3d mode mse_loss multi_margin_loss multilabel_margin_loss_forward multinomial
nanmedian nansum native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm ne
new_empty new_empty_strided new_full new_ones new_zeros nll_loss2d_forward nll_loss_forward nonzero nonzero_static
norm normal ones_like pixel_shuffle pixel_unshuffle poisson polar prod quantize_per_channel quantize_per_tensor
quantize_per_tensor_dynamic rand_like randint_like randn_like reflection_pad1d reflection_pad2d reflection_pad3d
renorm repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d resize resize_as roll rot90
rrelu_with_noise rrelu_with_noise_functional rsub scatter scatter_add scatter_reduce searchsorted segment_reduce
select_scatter set slice_scatter smooth_l1_loss soft_margin_loss softmax softplus sort squeeze stack std std_mean sum
t take threshold tile topk trace transpose tril triu unfold_backward uniform unique_consecutive unique_dim
unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d
upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean xlogy zero zeros_like
"""
NO_PRODUCTS: Final = frozenset(_NAMES.split())
"""ATen's operations without a sum of products that no tag of torch's tells of; in place as well."""


def flop_formula(func: Any) -> Formula | None:
    """What gives the FLOPs of an operation from its arguments and `out_val=result`; None where there is no formula.

    An operation in place (`addmm_`) costs what it costs otherwise.
    """
    name = operation_name(func)
    own = FORMULAS.get(name) or FORMULAS.get(name.removesuffix("_"))
    if own is not None:
        return own
    return flop_registry.get(getattr(func, "overloadpacket", func)) or flop_registry.get(_plain_packet(name))


def flops_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int | None:
    """FLOPs of one call, 0 of what counts as nothing; None without a formula, or without one for such tensors (nested ones)."""
    formula = flop_formula(func)
    if formula is None:
        return None if is_uncounted(func) else 0
    try:
        return int(formula(*args, **kwargs, out_val=result))
    except Exception:  # whatever a tensor of another class may raise; the operation's name has to do
        return None


def operation_name(func: Any) -> str:
    """An operation's name without its overload, such as `aten::addmm`; of a higher-order operation, its own."""
    schema = getattr(func, "_schema", None)
    return str(schema.name if schema is not None else func)


def is_uncounted(func: Any) -> bool:
    """Whether an operation may sum products, and no formula says how many."""
    return flop_formula(func) is None and not _counts_as_nothing(func)


@cache
def _counts_as_nothing(func: Any) -> bool:
    schema = getattr(func, "_schema", None)
    if schema is None:
        return False
    return _has_known_kind(func) or _is_view(schema) or not _takes_and_gives_tensors(schema)


def _has_known_kind(func: Any) -> bool:
    namespace, _, name = operation_name(func).partition("::")
    if torch.Tag.pointwise in func.tags:
        return True
    if namespace == "quantized":
        return name.partition("_")[0] in _POINTWISE_QUANTIZED or name.startswith(_NORMS_QUANTIZED)
    if namespace != "aten":
        return False
    plain = name.removesuffix("_")
    return plain in NO_PRODUCTS or name.endswith("_copy") or name.startswith("_foreach_")


_POINTWISE_QUANTIZED: Final = frozenset(
    (
        "add",
        "mul",
        "cat",
        "relu",
        "relu6",
        "clamp",
        "hardswish",
        "sigmoid",
        "leaky",
        "celu",
        "elu",
        "threshold",
        "prelu",
    )
)
_NORMS_QUANTIZED: Final = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "max_pool", "dropout")


def _is_view(schema: Any) -> bool:
    """Whether all results lie in the memory of an argument that stays as it is."""
    return bool(schema.returns) and all(
        one.alias_info is not None and not one.alias_info.is_write for one in schema.returns
    )


def _takes_and_gives_tensors(schema: Any) -> bool:
    return all(any("Tensor" in str(one.type) for one in ends) for ends in (schema.arguments, schema.returns))


def _plain_packet(name: str) -> Any:
    """ATen's operation of which this is the form in place, if it is one."""
    namespace, _, plain = name.partition("::")
    return getattr(torch.ops.aten, plain.removesuffix("_"), None) if namespace == "aten" and plain[-1:] == "_" else None
