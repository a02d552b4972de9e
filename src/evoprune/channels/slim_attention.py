"""Multi-head attention whose heads together are narrower than the width it reads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SlimMultiheadAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` after surgery: same parameters and call, any number of heads of the original size.

    Never built directly: surgery turns a pruned `nn.MultiheadAttention` into it. `num_heads * head_dim` need not be `embed_dim`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute what `nn.MultiheadAttention.forward` does."""
        batched = query.dim() == 3
        sources = [
            tensor if batched else tensor.unsqueeze(0 if self.batch_first else 1) for tensor in (query, key, value)
        ]
        if not self.batch_first:
            sources = [tensor.transpose(0, 1) for tensor in sources]
        q, k, v = (self._project(source, part) for part, source in enumerate(sources))
        scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-2, -1)
        for mask in _masks(attn_mask, key_padding_mask, batched=batched):
            scores = scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        weights = functional.dropout(scores.softmax(-1), self.dropout, self.training)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        output = functional.linear(mixed, self.out_proj.weight, self.out_proj.bias)
        if not self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(0 if self.batch_first else 1)
        if not need_weights:
            return output, None
        shown = weights.mean(1) if average_attn_weights else weights
        return output, shown if batched else shown.squeeze(0)

    def _project(self, source: Tensor, part: int) -> Tensor:
        """Part 0, 1, 2 of the fused projection: [n, t, width] -> [n, heads, t, head size]."""
        size = self.num_heads * self.head_dim
        weight = self.in_proj_weight[part * size : (part + 1) * size]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[part * size : (part + 1) * size]
        projected: Tensor = functional.linear(source, weight, bias)
        return projected.reshape(*projected.shape[:-1], self.num_heads, self.head_dim).transpose(1, 2)


def _masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None, *, batched: bool) -> list[Tensor]:
    """Masks that broadcast to [n, heads, t, s]."""
    masks = []
    if attn_mask is not None:
        masks.append(attn_mask)
    if key_padding_mask is not None:
        masks.append((key_padding_mask if batched else key_padding_mask.unsqueeze(0))[:, None, None, :])
    return masks
