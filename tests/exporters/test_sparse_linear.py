import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import UnsupportedModelError
from evoprune.exporters.sparse_linear import CsrLinear
from evoprune.rng import isolated_rng


def linear(*, bias=True, keep=0.2, dtype=torch.float64):
    with isolated_rng(0):
        layer = nn.Linear(13, 7, bias=bias).to(dtype)
        layer.weight.data[torch.rand(7, 13) > keep] = 0
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(13,), (1, 13), (5, 13), (2, 3, 13), (0, 13), (2, 0, 13)], ids=str)
def test_csr_linear_computes_what_the_linear_does(bias, shape):
    layer, generator = linear(bias=bias), torch.Generator().manual_seed(1)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    outputs = CsrLinear(layer)(inputs)
    assert outputs.shape == layer(inputs).shape
    assert torch.allclose(outputs, layer(inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_csr_linear_takes_empty_and_full_weights(keep):
    layer, inputs = linear(keep=keep), torch.ones(3, 13, dtype=torch.float64)
    assert torch.allclose(CsrLinear(layer)(inputs), functional.linear(inputs, layer.weight, layer.bias))


def test_csr_linear_shares_nothing_and_says_how_sparse_it_is():
    layer = linear()
    csr = CsrLinear(layer.eval())
    expected = csr(torch.ones(2, 13, dtype=torch.float64)).clone()
    layer.weight.data.zero_()
    layer.bias.data.zero_()
    assert torch.equal(copy.deepcopy(csr)(torch.ones(2, 13, dtype=torch.float64)), expected)
    assert torch.equal(pickle.loads(pickle.dumps(csr))(torch.ones(2, 13, dtype=torch.float64)), expected)
    assert f"weights={csr.matrix._nnz()}" in repr(csr)
    assert not csr.training


def test_csr_linear_refuses_other_types():
    with pytest.raises(UnsupportedModelError, match=r"float32 or float64 weights, not torch\.bfloat16"):
        CsrLinear(linear(dtype=torch.bfloat16))
