"""A linear layer that multiplies by the weights that stay alone, for inference."""

from __future__ import annotations

import warnings
from typing import Final

import torch
from torch import Tensor, nn

from evoprune.errors import UnsupportedModelError

DTYPES: Final = (torch.float32, torch.float64)


class CsrLinear(nn.Module):
    """What an `nn.Linear` with zeros computes, by products of a matrix in compressed sparse rows (CSR).

    For inference: it has buffers and no parameters. Sums run in another order than in the dense layer.

    Args:
        linear: The layer; weights are copied.

    Raises:
        UnsupportedModelError: Its weights are neither float32 nor float64.
    """

    row_starts: Tensor
    columns: Tensor
    values: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if linear.weight.dtype not in DTYPES:
            raise UnsupportedModelError(f"sparse products need float32 or float64 weights, not {linear.weight.dtype}")
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        with warnings.catch_warnings():
            # torch calls its CSR support a beta; which layers gain by it is measured here.
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
            matrix = linear.weight.detach().to_sparse_csr()
        # Its parts and not the matrix itself: torch can neither copy nor pickle a module that holds one.
        self.register_buffer("row_starts", matrix.crow_indices().int())
        self.register_buffer("columns", matrix.col_indices().int())
        self.register_buffer("values", matrix.values().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.train(linear.training)

    @property
    def matrix(self) -> Tensor:
        """The weights, [out_features, in_features] in CSR layout."""
        shape = (self.out_features, self.in_features)
        return torch.sparse_csr_tensor(self.row_starts, self.columns, self.values, shape, check_invariants=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        rows = inputs.reshape(-1, self.in_features)
        if rows.shape[0] == 1:
            outputs = self._one(rows[0])
        elif rows.shape[0] == 0:
            outputs = rows.new_zeros(0, self.out_features)
        else:
            outputs = self._many(rows)
        return outputs.reshape(*inputs.shape[:-1], self.out_features)

    def _one(self, row: Tensor) -> Tensor:
        return self.matrix @ row if self.bias is None else torch.addmv(self.bias, self.matrix, row)

    def _many(self, rows: Tensor) -> Tensor:
        columns = rows.t()
        product = self.matrix @ columns if self.bias is None else torch.addmm(self.bias[:, None], self.matrix, columns)
        return product.t()

    def extra_repr(self) -> str:
        """Sizes and the number of weights, for `print(model)`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, weights={len(self.values)}"
