"""What a settings document may set on a network: plain data in the place of plain data, and nothing else."""

import contextlib
import functools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.store.module_settings import read_settings
from evoprune.store.plain_data import NotPlainError, decode, digests_in, encode
from evoprune.store.settings_file import apply_settings, read_copies, settings_document, settings_tensors
from tests.run.altered_networks import Altered

EMPTY = {"attributes": {}, "constants": {}, "buffers": {}, "trained": {}, "kinds": {}, "others": {}, "hooks": []}


class Slotted(Altered):
    __slots__ = ("amount",)

    def __init__(self):
        super().__init__()
        self.amount = 1.0


@pytest.fixture
def model(seeded_torch):
    return Slotted().eval()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("", name) for name in ("forward", "training", "_parameters", "_buffers", "_modules", "_forward_hooks")),
        *(
            ("", name)
            for name in ("_backward_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks", "call_super_init")
        ),
        *(("", name) for name in ("__class__", "__dict__", "__call__", "__getstate__", "__slots__", "not a name", "")),
        *(
            ("", name)
            for name in (
                "first",
                "function",
                "options",
                "end",
                "std",
                "hidden",
                "zero_grad",
                "state_dict",
                "T_destination",
            )
        ),
        *(("first", name) for name in ("weight", "bias", "forward", "reset_parameters", "extra_repr", "train")),
        ("missing", "rate"),
    ],
)
@pytest.mark.parametrize("section", ["attributes", "constants"])
def test_settings_touch_nothing_that_torch_or_python_work_by(model, section, path, name):
    before = dict(vars(model))
    document = EMPTY | {section: {path: {name: 5}}}
    if section == "attributes":
        with pytest.raises(StoreCorruptedError, match="settings in here can't be used"):
            apply_settings(model, document, {}, "here")
    else:
        # What a class holds of another kind is no constant, and is passed over.
        with contextlib.suppress(StoreCorruptedError):
            apply_settings(model, document, {}, "here")
    assert all(vars(model)[key] is value for key, value in before.items())
    assert vars(model).keys() == before.keys()
    assert type(model) is Slotted


@pytest.mark.parametrize(
    "document",
    [
        {"buffers": {"": {"std": 5}}},
        {"buffers": {"": {"nothing": {"tensor": ["ab", False, False]}}}},
        {"buffers": {"": {"std": {"tensor": ["ab", False, False]}}}},
        {"trained": {"first.weight": 1}},
        {"trained": {"nothing": True}},
        {"attributes": {"": {"rounds": {"eval": "1"}}}},
        {"attributes": {"": {"rounds": {"dtype": "load"}}}},
        {"attributes": {"": {"rounds": {"dtype": "__doc__"}}}},
        {"attributes": {"": {"rounds": {"float": "1", "tuple": []}}}},
        {"attributes": {"": {"rounds": {"tensor": ["cd", False, False]}}}},
        {"attributes": {"": {"rounds": [[[{"set": [[]]}]]]}}},
        {"attributes": {"": {"rounds": functools.reduce(lambda inner, _: [inner], range(5000), 1)}}},
        {"attributes": []},
        {"kinds": {"first": {}}, "attributes": 3},
        {"hooks": ["missing"]},
        {"others": {"missing": {"a": 1}}},
    ],
    ids=range(16),
)
def test_settings_that_are_damaged_are_refused(model, document):
    with pytest.raises((StoreCorruptedError, UsageError)):
        apply_settings(model, EMPTY | document, {"ab": [torch.zeros(2)]}, "here")


def test_settings_run_no_code_of_the_module(seeded_torch):
    class Strict(Altered):
        def __setattr__(self, name, value):
            assert name != "temperature" or not hasattr(self, "temperature"), "set through __setattr__"
            super().__setattr__(name, value)

    model = Strict()
    apply_settings(model, EMPTY | {"attributes": {"": {"temperature": 5.0}}}, {}, "here")
    assert model.temperature == 5.0


def test_settings_reach_slots(model):
    apply_settings(model, EMPTY | {"attributes": {"": {"amount": 5.0}}}, {}, "here")
    assert model.amount == 5.0
    assert read_settings(model).attributes[""]["amount"] == 5.0


def test_settings_come_back_from_their_files(model):
    model.mean, model.temperature, model.drop.p = torch.arange(6.0), 4.0, 0.7
    model.parts = [model.mean.clone(), model.mean.clone()]
    model.std.fill_(3.0)
    model.first.weight.requires_grad_(False)
    chosen = read_settings(model).differing_from([read_settings(Slotted())])
    document = json.loads(json.dumps(settings_document(chosen)))
    fresh = Slotted()
    apply_settings(fresh, document, read_copies(settings_tensors(document, chosen.tensors), "here"), "here")
    assert read_settings(fresh) == read_settings(model)
    # Equal tensors in two places are two tensors.
    fresh.parts[0].zero_()
    assert torch.equal(fresh.parts[1], fresh.mean)
    assert fresh.mean[1] == 1


def test_differences_tell_numbers_of_several_types_apart(seeded_torch):
    one, other = Altered(), Altered()
    one.temperature, one.rounds, one.negate = 1, 3.0, 0
    assert set(read_settings(one).differing_from([read_settings(other)]).attributes[""]) == {
        "temperature",
        "rounds",
        "negate",
    }


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.complex_numbers())
TENSORS = st.sampled_from(
    [torch.zeros(0), torch.tensor(1.5), torch.arange(6).view(2, 3), torch.ones(2, dtype=torch.bfloat16)]
)
VALUES = st.recursive(
    NUMBERS | TENSORS | st.binary(max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(VALUES)
def test_plain_data_come_back_as_they_were(value):
    tensors = {}
    document = json.loads(json.dumps(encode(value, tensors)))
    copies = {}
    for digest in digests_in(document):
        copies.setdefault(digest, []).append(tensors[digest].clone())
    back = decode(document, copies)
    assert type(back) is type(value)
    assert repr(encode(back, {})) == repr(encode(value, {}))


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [object(), len, endless(), 1 << 5000, torch.zeros(2, device="meta")],
    ids=["object", "function", "endless", "huge", "meta"],
)
def test_what_is_no_plain_data_is_told_so(value):
    with pytest.raises(NotPlainError):
        encode(value, {})
