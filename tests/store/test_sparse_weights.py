import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from evoprune.errors import InvalidPlanError, StoreCorruptedError
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, plan_of
from evoprune.nn_utils.weights import weight_bytes, weights_of
from evoprune.rng import isolated_rng
from evoprune.store.sparse_weights import HEADER, read_sparse_weights, sparse_weight_bytes
from evoprune.testing.tiny import TinyCNN

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.float8_e4m3fn]


def raw(tensor):
    return tensor.detach().reshape(-1, 1).view(torch.uint8)


def same_bits(model, weights):
    expected = weights_of(model)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert (weights[name].dtype, weights[name].shape) == (value.dtype, value.shape)
        assert torch.equal(raw(weights[name]), raw(value)) if value.dim() else torch.equal(weights[name], value)
    return True


MOST = 10_000_000


def read(content, most_weights=MOST):
    return read_sparse_weights(content, most_weights=most_weights)


def masked(keep, *, size=40, seed=0, dtype=torch.float32):
    """A network of one masked linear layer and its plan."""
    generator = np.random.default_rng(seed)
    with isolated_rng(seed):
        model = nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size)).to(dtype)
    plan = plan_of(model, {"0.weight": generator.random((size, size)) < keep})
    return apply_masks(model, plan), plan


@pytest.mark.parametrize("keep", [0, 0.001, 0.03, 0.1, 0.2, 0.7, 1])
@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
def test_sparse_weights_come_back_bit_for_bit(keep, dtype):
    model, plan = masked(keep, dtype=dtype)
    assert same_bits(model, read(sparse_weight_bytes(model, plan)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_come_back_bit_for_bit(dtype):
    special = torch.tensor([[0.0, -0.0, float("nan"), 3.5], [1.0, 0.0, 0.0, -1.0]]).to(dtype)
    if dtype == torch.float32:
        special.view(torch.int32)[0, 2] = 0x7FC12345  # a nan with a payload
    model = nn.Module()
    model.weight = nn.Parameter(special, requires_grad=False)
    plan = plan_of(model, {"weight": np.array([[1, 1, 1, 0], [1, 0, 1, 1]], dtype=bool)})
    model.weight.data[0, 3] = 0
    assert same_bits(model, read(sparse_weight_bytes(model, plan)))


def test_negative_zero_outside_the_mask_comes_back_as_zero():
    model, plan = masked(0.5)
    model[0].weight.data[~torch.from_numpy(plan.masks["0.weight"].bools)] = -0.0
    weights = read(sparse_weight_bytes(model, plan))
    assert torch.equal(weights["0.weight"], model[0].weight)
    assert not torch.signbit(weights["0.weight"][weights["0.weight"] == 0]).any()


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 300))
def test_gaps_of_any_length_come_back(pattern, spread):
    keep = np.zeros(len(pattern) * spread, dtype=bool)
    keep[::spread] = pattern
    model = nn.Module()
    model.weight = nn.Parameter(torch.arange(1.0, len(keep) + 1) * torch.from_numpy(keep))
    assert same_bits(model, read(sparse_weight_bytes(model, plan_of(model, {"weight": keep}))))


def test_shorter_form_of_the_positions_is_taken():
    forms = {keep: set(load(sparse_weight_bytes(*masked(keep, size=300)))) for keep in (0.05, 0.5)}
    assert "0.weight:gaps" in forms[0.05]
    assert "0.weight:bits" in forms[0.5]


@pytest.mark.parametrize(("keep", "share"), [(0.05, 0.07), (0.1, 0.13), (0.01, 0.015), (0.001, 0.004)])
def test_file_shrinks_with_sparsity(keep, share):
    model, plan = masked(keep, size=700)
    sparse, dense = sparse_weight_bytes(model, plan), weight_bytes(model)
    header = 1024
    assert len(sparse) < share * len(dense) + header + 4 * 5 * 700
    assert sparse == sparse_weight_bytes(model, plan)


def test_weights_that_should_be_zero_and_are_not_are_refused():
    model, plan = masked(0.5)
    with torch.no_grad():
        model[0].weight.copy_(torch.where(model[0].weight == 0, torch.nan, 1.0))
    pruned = plan.size - plan.kept
    with pytest.raises(InvalidPlanError, match=f"{pruned} weights of '0.weight' are not zero"):
        sparse_weight_bytes(model, plan)


def test_plan_of_another_network_is_refused():
    with isolated_rng(0), pytest.raises(InvalidPlanError, match="another structure"):
        sparse_weight_bytes(TinyCNN(), MaskPlan({}, "f"))


def test_several_layers_with_nothing_left_come_back():
    with isolated_rng(0):
        model = TinyCNN()
    plan = plan_of(
        model, {name: np.zeros(getattr(model, name[:-7]).weight.shape, bool) for name in ("conv1.weight", "fc.weight")}
    )
    assert same_bits(apply_masks(model, plan), read(sparse_weight_bytes(apply_masks(model, plan), plan)))


def stored(keep=0.03):
    content = sparse_weight_bytes(*masked(keep))
    return load(content), content


def with_changes(*, header=None, **tensors):
    whole, _ = stored()
    shapes = {"format": 1, "shapes": {"0.weight": [40, 40]}, **(header or {})}
    changed = {**whole, **{f"0.weight:{key}": value for key, value in tensors.items()}}
    return save({name: value for name, value in changed.items() if value is not None}, {HEADER: json.dumps(shapes)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        save({"a": torch.ones(2)}),
        save({"a": torch.ones(2)}, {HEADER: "[" * 100_000}),
        with_changes(values=torch.ones(3)),
        with_changes(values=None),
        with_changes(gaps=None),
        with_changes(gaps=torch.ones(7)),
        with_changes(gaps=torch.ones(0, dtype=torch.uint8)),
        with_changes(gaps=torch.full((6,), 255, dtype=torch.uint8)),
        with_changes(gaps=None, bits=torch.ones(3, dtype=torch.uint8)),
        with_changes(header={"shapes": {"0.weight": [2**31, 2**31]}}),
        with_changes(header={"shapes": {"0.weight": [40, -40]}}),
        with_changes(
            header={"shapes": {"0.weight": [0, 2**70]}}, gaps=torch.zeros(1, dtype=torch.uint8), values=torch.ones(0)
        ),
        with_changes(header={"shapes": {"0.weight": "40"}}),
        with_changes(header={"shapes": {"1.weight": [40, 40]}}),
        with_changes(header={"shapes": None}),
        with_changes(header={"format": 2}),
    ],
    ids=range(17),
)
def test_junk_is_refused(content):
    with pytest.raises(StoreCorruptedError):
        read(content)


@pytest.mark.slow
@given(st.integers(0, 20_000), st.integers(1, 255))
def test_damaged_bytes_raise_nothing_but_store_corrupted(position, flip):
    content = bytearray(stored()[1])
    content[position % len(content)] ^= flip
    try:
        weights = read(bytes(content))
    except StoreCorruptedError:
        return
    assert sum(value.numel() for value in weights.values()) < 2 * MOST


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(share):
    content = stored()[1]
    with pytest.raises(StoreCorruptedError, match="can't read the sparse weights"):
        read(content[: int(share * len(content))])


def test_file_that_stands_for_more_weights_than_the_network_has_is_refused():
    _, content = stored()
    with pytest.raises(StoreCorruptedError, match="the sparse weights are 1,600, at most 1,599 expected"):
        read(content, 1599)
    assert read(content, 1600)
