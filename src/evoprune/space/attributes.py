"""Which module attributes repeat a size that pruning changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from evoprune.nn_utils.computed_weights import stored_weight
from evoprune.nn_utils.prune_hooks import stored_name
from evoprune.space.groups import AttributeRule
from evoprune.space.tracing.labels import Couplings

Found = Iterator[tuple[str, str, int, int, int, bool]]


def attribute_rules(model: nn.Module) -> tuple[AttributeRule, ...]:
    """The rules of all modules of `model` that evoprune knows."""
    names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    rules = []
    for path, module in model.named_modules():
        for kind, describe in _KINDS:
            if isinstance(module, kind) if isinstance(kind, type) else type(module).__name__ == kind:
                for attribute, tensor, dim, factor, divisor, as_tuple in describe(module):
                    name = names.get(id(_tensor(module, tensor)), f"{path}.{tensor}")
                    rules.append(AttributeRule(path, attribute, (name, dim), factor, divisor, as_tuple))
                break
    return tuple(rules)


HEAD_COUNTS = {"num_heads", "n_heads", "nhead", "n_head", "heads", "num_attention_heads", "h"}
"""Attributes in which attention modules keep the number of their heads; add the names that yours use."""

HEAD_SIZES = {"head_dim", "attention_head_size", "dim_head", "head_size", "d_head", "d_k", "d_kv", "dim_per_head"}
"""Attributes in which they keep the size of one head."""

HEAD_WIDTHS = {"all_head_size", "attn_dim", "inner_dim", "attention_dim", "d_attn", "split_size"}
"""Attributes in which they keep the width of all heads together."""


WIDTHS = {
    *("hidden_dim", "embed_dim", "hidden_size", "d_model", "d_inner"),
    *("dim", "width", "channels", "num_channels", "num_features", "c", "out_channels", "hidden_channels"),
}
"""Attributes in which modules keep the size of a dimension that they reshape to, or of the parts that they split one into."""


def split_rules(model: nn.Module, couplings: Couplings) -> tuple[AttributeRule, ...]:
    """Rules for modules that split a dimension into heads and cut whole heads, or that reshape to a size they keep."""
    rules: dict[tuple[str, str], AttributeRule] = {}
    blocks = list(couplings.blocks.values())
    seen = [(split, True) for split in couplings.splits] + [(reshape, False) for reshape in couplings.reshapes]
    for split, is_split in seen:
        module = model.get_submodule(split.module)
        first = int(split.atoms.max())
        block = next((b for b in blocks if b.start <= first < b.start + b.size), None)
        if block is None or isinstance(module, nn.MultiheadAttention):
            continue
        axis = (block.tensor, block.dim)
        for name, value in vars(module).items():
            counts = name in (HEAD_COUNTS if is_split else WIDTHS) and value == split.kept_as_one
            if (counts or (is_split and name in HEAD_WIDTHS)) and _divides(value, block.size):
                rules[split.module, name] = AttributeRule(split.module, name, axis, 1, block.size // value)
    return tuple(rules.values())


def _divides(value: object, size: int) -> bool:
    return isinstance(value, int) and value > 0 and size % value == 0


def _tensor(module: nn.Module, path: str) -> object:
    owner, _, name = path.rpartition(".")
    inner = module.get_submodule(owner)
    return stored_weight(inner, name) if name == "weight" else getattr(inner, stored_name(inner, name), None)


def _conv(module: _ConvNd) -> Found:
    groups = module.groups
    out_dim, in_dim = (1, 0) if isinstance(module, _ConvTransposeNd) else (0, 1)
    if groups > 1 and module.in_channels == groups:
        multiplier = module.out_channels // groups
        if isinstance(module, _ConvTransposeNd) and multiplier > 1:
            yield "out_channels", "weight", 1, groups, 1, False
            return
        yield "out_channels", "weight", 0, 1, 1, False
        yield "in_channels", "weight", 0, 1, multiplier, False
        yield "groups", "weight", 0, 1, multiplier, False
        return
    partial = 1 if not isinstance(module, _ConvTransposeNd) else 0
    yield "out_channels", "weight", out_dim, 1 if partial else groups, 1, False
    yield "in_channels", "weight", in_dim, groups if partial else 1, 1, False


def _linear(_: nn.Linear) -> Found:
    yield "out_features", "weight", 0, 1, 1, False
    yield "in_features", "weight", 1, 1, 1, False


def _norm(module: _NormBase) -> Found:
    yield "num_features", "weight" if module.weight is not None else "running_mean", 0, 1, 1, False


def _layer_norm(_: nn.Module) -> Found:
    yield "normalized_shape", "weight", 0, 1, 1, True


def _group_norm(module: nn.GroupNorm) -> Found:
    yield "num_channels", "weight", 0, 1, 1, False
    if module.num_groups == module.num_channels:
        yield "num_groups", "weight", 0, 1, 1, False


def _conv1d(module: nn.Module) -> Found:
    """`transformers.pytorch_utils.Conv1D`: a linear layer with its weight transposed."""
    for attribute, dim in (("nx", 0), ("nf", 1)):
        if hasattr(module, attribute):
            yield attribute, "weight", dim, 1, 1, False


def _embedding(_: nn.Embedding) -> Found:
    yield "embedding_dim", "weight", 1, 1, 1, False


def _prelu(_: nn.PReLU) -> Found:
    yield "num_parameters", "weight", 0, 1, 1, False


def _recurrent(_: nn.RNNBase) -> Found:
    yield "hidden_size", "weight_hh_l0", 1, 1, 1, False
    yield "input_size", "weight_ih_l0", 1, 1, 1, False


def _recurrent_cell(_: nn.RNNCellBase) -> Found:
    yield "hidden_size", "weight_hh", 1, 1, 1, False
    yield "input_size", "weight_ih", 1, 1, 1, False


def _attention(module: nn.MultiheadAttention) -> Found:
    for attribute in ("embed_dim", "kdim", "vdim"):
        yield attribute, "in_proj_weight", 1, 1, 1, False
    yield "num_heads", "in_proj_weight", 0, 1, 3 * module.head_dim, False


def _transformer(module: nn.Transformer) -> Found:
    if isinstance(module.encoder, nn.TransformerEncoder):
        yield "d_model", "encoder.layers.0.self_attn.in_proj_weight", 1, 1, 1, False


_KINDS: tuple[tuple[type[nn.Module] | str, Callable[..., Found]], ...] = (
    ("Conv1D", _conv1d),
    (_ConvNd, _conv),
    (nn.Linear, _linear),
    (_NormBase, _norm),
    (nn.LayerNorm, _layer_norm),
    (nn.RMSNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.Embedding, _embedding),
    (nn.PReLU, _prelu),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, _recurrent_cell),
    (nn.MultiheadAttention, _attention),
    (nn.Transformer, _transformer),
)
