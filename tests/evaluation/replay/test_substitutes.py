"""Operations that stand in for slower ones give the same bits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from evoprune.evaluation.replay.capture import capture
from evoprune.evaluation.replay.substitutes import Substitutes, aten, max_pool_by_slices


@given(st.data())
def test_max_pool_by_slices_equals_torch(data):
    size, kernel, stride = (data.draw(st.tuples(bounds, bounds)) for bounds in map(_upto, ((5, 12), (2, 5), (1, 4))))
    seed = data.draw(st.integers(0, 99))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    if data.draw(st.booleans()):
        images = images.contiguous(memory_format=torch.channels_last)
    found, expected = max_pool_by_slices(images, kernel, stride), functional.max_pool2d(images, kernel, stride)
    assert found.stride() == expected.stride()
    assert torch.equal(found, expected)


def test_max_pool_by_slices_passes_not_a_number_on():
    images = torch.zeros(1, 1, 4, 4)
    images[0, 0, 1, 2] = torch.nan
    found = max_pool_by_slices(images, (2, 2), (2, 2))
    assert torch.equal(found.isnan(), functional.max_pool2d(images, 2).isnan())


def _upto(bounds):
    return st.integers(*bounds)


class Chain(nn.Module):
    """A linear layer, then whatever the test is about."""

    def __init__(self, then):
        super().__init__()
        self.fc, self.then = nn.Linear(4, 4), then

    def forward(self, x):
        return self.then(self.fc(x), x)


@pytest.mark.parametrize(
    ("then", "in_place"),
    [
        (lambda y, x: torch.relu(y), True),
        (lambda y, x: torch.relu(y) + y, False),  # y is read again
        (lambda y, x: (torch.relu(y), y), False),  # y is returned
        (lambda y, x: torch.relu(y[0]) + y, False),  # the operand is a part of y
        (lambda y, x: torch.relu(x) * y, False),  # x is given
    ],
)
def test_substitutes_overwrite_only_what_nobody_reads_again(seeded_torch, then, in_place):
    tape, _ = capture(Chain(then).eval(), ["fc.weight"], torch.randn(3, 4))
    relu = next(operation for operation in tape.operations if operation.function is aten.relu.default)
    found = Substitutes(tape, tape.operations).call(relu)
    assert (found.function is aten.relu_.default) is in_place


def test_substitutes_keep_the_weights_that_an_operation_reads_through_a_view(seeded_torch):
    class Bounded(nn.Linear):
        def forward(self, x):
            return x @ torch.tanh(self.weight.t())

    tape, _ = capture(Bounded(4, 4), ["weight"], torch.randn(3, 4))
    tanh = next(operation for operation in tape.operations if operation.function is aten.tanh.default)
    assert Substitutes(tape, tape.operations).call(tanh) is tanh


@pytest.mark.parametrize("options", [{"padding": 1}, {"dilation": 2}, {"ceil_mode": True}, {"return_indices": True}])
def test_substitutes_leave_other_pooling_to_torch(seeded_torch, options):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x):
            return functional.max_pool2d(self.conv(x), 3, 2, **options)

    tape, _ = capture(Pooled().eval(), ["conv.weight"], torch.randn(2, 1, 8, 8))
    pool = next(one for one in tape.operations if one.function is aten.max_pool2d_with_indices.default)
    assert Substitutes(tape, tape.operations).call(pool) is pool
