import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import InvalidPlanError
from evoprune.plan import PruningPlan

names = st.text(max_size=12)
indices = st.sets(st.integers(0, 2**40), min_size=1, max_size=6).map(lambda chosen: np.array(sorted(chosen), np.int64))
values = st.integers(0, 2**31) | st.lists(st.integers(0, 99), max_size=3).map(tuple)
plans = st.builds(
    PruningPlan,
    kept=st.dictionaries(names, st.dictionaries(st.integers(0, 5), indices, max_size=3), max_size=3),
    attributes=st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=3),
    fingerprint=names,
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)


def plan(**changes):
    fields = {"kept": {"w": {0: np.array([0, 2, 5])}}, "attributes": {"conv": {"out_channels": 3}}, "fingerprint": "f"}
    return PruningPlan(**{**fields, **changes})


def document(**changes):
    return json.dumps({**json.loads(plan().to_json()), **changes})


def read_or_refused(text):
    """The plan, or None where it is refused; any other error fails the test."""
    try:
        return PruningPlan.from_json(text)
    except InvalidPlanError:
        return None


@given(plans)
def test_plan_comes_back_from_json(original):
    again = PruningPlan.from_json(original.to_json())
    assert (again, hash(again), again.to_json()) == (original, hash(original), original.to_json())
    assert all(np.array_equal(again.kept[n][d], rows) for n, dims in original.kept.items() for d, rows in dims.items())
    assert again.attributes == original.attributes


def test_plan_json_does_not_depend_on_the_order_of_names():
    one = plan(kept={"a": {0: np.array([1]), 1: np.array([2])}, "b": {0: np.array([3])}})
    other = plan(kept={"b": {0: np.array([3])}, "a": {1: np.array([2]), 0: np.array([1])}})
    assert one.to_json() == other.to_json()
    assert one == other != plan()


@given(st.text() | documents.map(json.dumps))
def test_from_json_raises_nothing_but_invalid_plan_on_any_text(text):
    with pytest.raises(InvalidPlanError):
        PruningPlan.from_json(text)


@given(st.sampled_from(["format", "kept", "attributes", "fingerprint"]), documents)
def test_from_json_raises_nothing_but_invalid_plan_when_a_part_is_anything(part, value):
    again = read_or_refused(document(**{part: value}))
    assert again is None or json.loads(again.to_json())[part] == value


@given(st.integers(0, 200), st.text(max_size=3))
def test_from_json_raises_nothing_but_invalid_plan_on_damaged_text(position, inserted):
    text = plan().to_json()
    damaged = text[:position] + inserted + text[position + 1 :]
    again = read_or_refused(damaged)
    assert again is None or PruningPlan.from_json(again.to_json()) == again


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        document(kept={"w": {"0": [2**70]}}),
        document(kept={"w": {"0": [1.0]}}),
        document(kept={"w": {"0": [True]}}),
        document(kept={"w": {"zero": [1]}}),
        document(attributes={"conv": {"out_channels": 1.5}}),
        document(attributes={"conv": {"out_channels": "12"}}),
        document(attributes={"conv": {"kernel_size": [3, None]}}),
        document(attributes={"conv": {"out_channels": float("nan")}}),
        document(fingerprint=None),
        document(format=True),
    ],
    ids=lambda text: text[-60:],
)
def test_from_json_refuses_what_to_json_never_writes(text):
    with pytest.raises(InvalidPlanError):
        PruningPlan.from_json(text)


def test_from_json_names_the_format_when_it_is_newer():
    with pytest.raises(InvalidPlanError, match=r"format 2, this evoprune reads format 1"):
        PruningPlan.from_json(document(format=2))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([], dtype=np.int64), "non-empty"),
        (np.array([[1, 2]]), "non-empty list"),
        (np.array([0.5, 1.5]), "integer"),
        (np.array([False, True]), "integer"),
        (np.array([-1, 2]), "negative"),
        (np.array([1, 1]), "strictly increasing"),
        (np.array([3, 1]), "strictly increasing"),
        (np.array([3, 1], dtype=np.uint64), "strictly increasing"),
    ],
)
def test_plan_refuses_indices_that_name_no_selection(rows, message):
    with pytest.raises(InvalidPlanError, match=rf"'w', dimension 1: .*{message}"):
        plan(kept={"w": {1: rows}})


def test_plan_refuses_a_negative_dimension():
    with pytest.raises(InvalidPlanError, match="negative dimensions"):
        plan(kept={"w": {-1: np.array([0])}})


def test_plan_differs_from_other_things():
    assert plan() != plan().to_json()
    assert len({plan(), plan(), plan(fingerprint="g")}) == 2
