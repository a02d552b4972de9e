import json
import pickle
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from evoprune.errors import InvalidPlanError
from evoprune.mask_plan import HEADER, MaskPlan, PackedMask

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def bools(draw):
    shape = draw(shapes)
    bits = draw(st.lists(st.booleans(), min_size=prod(shape), max_size=prod(shape)))
    return np.array(bits, dtype=np.bool_).reshape(shape)


plans = st.builds(
    MaskPlan,
    masks=st.dictionaries(st.text(max_size=8), bools().map(PackedMask.from_bools), max_size=3),
    fingerprint=st.text(max_size=8),
)
PLAN = MaskPlan({"fc.weight": PackedMask.from_bools(np.eye(3, 5, dtype=bool))}, "f")


def file_with(tensors=None, **changes):
    header = {"format": 1, "fingerprint": "f", "shapes": {"fc.weight": [3, 5]}, **changes}
    return save(tensors or {"fc.weight": PLAN.masks["fc.weight"].packed}, {HEADER: json.dumps(header)})


@given(bools())
def test_packed_mask_unpacks_and_counts_what_went_in(array):
    mask = PackedMask.from_bools(array)
    assert np.array_equal(mask.bools, array)
    assert (mask.kept, mask.size, mask.shape) == (array.sum(), array.size, array.shape)
    assert pickle.loads(pickle.dumps(mask)) == mask


def test_packed_mask_clears_its_padding():
    one, other = (PackedMask(np.array([last], dtype=np.uint8), (3,)) for last in (0b10100000, 0b10111111))
    assert one == other
    assert (other.kept, hash(other)) == (2, hash(one))


def test_packed_mask_differs_when_only_the_shape_does():
    flat = np.array([True, False, True, True])
    assert PackedMask.from_bools(flat) != PackedMask.from_bools(flat.reshape(2, 2))
    assert PackedMask.from_bools(flat) != flat.tolist()


def test_packed_mask_does_not_change_afterwards():
    array = np.ones(9, dtype=bool)
    mask = PackedMask.from_bools(array)
    array[:] = False
    mask.bools[:] = False
    assert mask.kept == 9
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(mask)).packed[0] = 0


@pytest.mark.parametrize(
    ("packed", "shape"),
    [
        (np.zeros(2, np.uint8), (8,)),
        (np.zeros(0, np.uint8), (1,)),
        (np.zeros(1, np.int8), (8,)),
        (np.zeros((1, 1), np.uint8), (8,)),
        (np.zeros(1, np.uint8), (-1, -8)),
        (np.zeros(4, np.uint8), (2**40, 2**40)),
    ],
)
def test_packed_mask_refuses_bytes_that_do_not_fit_the_shape(packed, shape):
    with pytest.raises(InvalidPlanError, match="can't hold a mask of shape"):
        PackedMask(packed, shape)


def test_packed_mask_refuses_other_types_than_bool():
    with pytest.raises(InvalidPlanError, match="not of float64"):
        PackedMask.from_bools(np.ones(3))


@given(plans)
def test_plan_comes_back_from_bytes(plan):
    again = MaskPlan.from_bytes(plan.to_bytes())
    assert (again, hash(again), again.to_bytes()) == (plan, hash(plan), plan.to_bytes())
    assert again.masks == plan.masks
    assert again.sparsity == ((plan.size - plan.kept) / plan.size if plan.size else 0)


def test_plan_bytes_do_not_depend_on_the_order_of_names():
    names = ("b", "a", "c")
    masks = {name: PackedMask.from_bools(np.array([True, name == "a"])) for name in names}
    other = {name: masks[name] for name in sorted(names)}
    assert MaskPlan(masks, "f").to_bytes() == MaskPlan(other, "f").to_bytes()
    assert MaskPlan(masks, "f") == MaskPlan(other, "f") != MaskPlan(other, "g")


def test_plan_adds_up_its_masks():
    plan = PLAN.merged(MaskPlan({"a": PackedMask.from_bools(np.ones(5, bool))}, "f"))
    assert (plan.kept, plan.size, plan.sparsity) == (8, 20, 0.6)


def test_merged_takes_the_other_mask_where_both_have_one():
    none = MaskPlan({"fc.weight": PackedMask.from_bools(np.zeros((3, 5), bool))}, "f")
    assert PLAN.merged(none) == none
    assert none.merged(PLAN) == PLAN
    with pytest.raises(InvalidPlanError, match="different networks"):
        PLAN.merged(MaskPlan({}, "g"))


@given(st.binary(max_size=200))
def test_from_bytes_raises_nothing_but_invalid_plan_on_any_bytes(content):
    with pytest.raises(InvalidPlanError):
        MaskPlan.from_bytes(content)


@given(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
def test_from_bytes_raises_nothing_but_invalid_plan_on_damaged_bytes(position, inserted, removed):
    content = PLAN.to_bytes()
    damaged = content[:position] + inserted + content[position + removed :]
    try:
        assert MaskPlan.from_bytes(damaged).size <= 8 * len(damaged)
    except InvalidPlanError:
        assert damaged != content


@pytest.mark.parametrize("cut", range(0, len(PLAN.to_bytes()), 7))
def test_from_bytes_refuses_a_truncated_file(cut):
    with pytest.raises(InvalidPlanError, match="not a file of weight masks"):
        MaskPlan.from_bytes(PLAN.to_bytes()[:cut])


@pytest.mark.parametrize(
    "content",
    [
        save({"fc.weight": PLAN.masks["fc.weight"].packed}),
        save({"fc.weight": PLAN.masks["fc.weight"].packed}, {HEADER: "["}),
        save({"fc.weight": PLAN.masks["fc.weight"].packed}, {HEADER: "[" * 100_000}),
        save({"fc.weight": PLAN.masks["fc.weight"].packed}, {HEADER: "[]"}),
        file_with({"fc.weight": np.zeros(2, np.float32)}),
        file_with({"other": np.zeros(2, np.uint8)}),
        file_with(shapes={}),
        file_with(shapes=[]),
        file_with(shapes={"fc.weight": [2**40]}),
        file_with(shapes={"fc.weight": [3, "5"]}),
        file_with(shapes={"fc.weight": [-3, -5]}),
        file_with(shapes={"fc.weight": 15}),
        file_with(fingerprint=None),
        file_with(format=[1]),
    ],
    ids=lambda content: content[8:].split(b"}")[0][-40:].decode(),
)
def test_from_bytes_refuses_what_to_bytes_never_writes(content):
    with pytest.raises(InvalidPlanError):
        MaskPlan.from_bytes(content)


def test_from_bytes_names_the_format_when_it_is_newer():
    assert MaskPlan.from_bytes(file_with()) == PLAN
    with pytest.raises(InvalidPlanError, match=r"format 2, this evoprune reads format 1"):
        MaskPlan.from_bytes(file_with(format=2))
