import math
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from evoprune.data.batches import Batch, as_batch, count_samples, micro_batch_bounds
from evoprune.data.trees import map_tensors, moved, tensors_in
from evoprune.errors import DataError

Pair = namedtuple("Pair", ["a", "b"])


class Attributes(dict):
    """The idiom whose attributes are its items."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Encoding(UserDict):
    """As transformers' BatchEncoding: items are attributes, besides others."""

    def __init__(self, data, kept="kept"):
        super().__init__(data)
        self.kept = kept

    def __getattr__(self, name):
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


class Frozen(Mapping):
    """A mapping of its own, which nobody can write to."""

    def __init__(self, items):
        self._items = dict(items)

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


@dataclass
class Data:
    a: torch.Tensor
    b: torch.Tensor


@dataclass(frozen=True)
class FrozenData:
    a: torch.Tensor
    b: torch.Tensor


@dataclass(frozen=True, slots=True)
class Slotted:
    a: torch.Tensor
    b: torch.Tensor


class Plain:
    def __init__(self, a, b):
        self.a, self.b = a, b


def items(a, b):
    return {"a": a, "b": b}


CONTAINERS = {
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "named tuple": Pair,
    "dict": items,
    "ordered dict": lambda a, b: OrderedDict(items(a, b)),
    "default dict": lambda a, b: defaultdict(list, items(a, b)),
    "attribute dict": lambda a, b: Attributes(items(a, b)),
    "user dict": lambda a, b: UserDict(items(a, b)),
    "encoding": lambda a, b: Encoding(items(a, b)),
    "frozen mapping": lambda a, b: Frozen(items(a, b)),
    "data class": Data,
    "frozen data class": FrozenData,
    "slotted data class": Slotted,
    "nested": lambda a, b: {"x": [Pair(a, {"y": FrozenData(b, b)})], "name": "n", "none": None},
}


def samples(count):
    return torch.arange(count * 3).float().view(count, 3), torch.arange(count)


@pytest.mark.parametrize("make", [*CONTAINERS.values(), Plain], ids=[*CONTAINERS, "plain object"])
def test_map_tensors_rebuilds_a_container_of_the_same_type_and_leaves_the_given_one(make):
    a, b = samples(4)
    tree = make(a, b)
    mapped = map_tensors(tree, lambda tensor: tensor + 1)
    assert type(mapped) is type(tree)
    assert [one.tolist() for one in tensors_in(mapped)] == [(one + 1).tolist() for one in tensors_in(tree)]
    assert next(tensors_in(tree)) is a


@pytest.mark.parametrize("make", [Attributes, Encoding], ids=["attributes are the dict", "attributes are looked up"])
def test_map_tensors_keeps_items_that_are_attributes_in_step(make):
    tree = make(items(*samples(4)))
    mapped = map_tensors(tree, lambda tensor: tensor * 2)
    assert mapped.a is mapped["a"]
    assert mapped.a.equal(samples(4)[0] * 2)
    assert getattr(mapped, "kept", "kept") == "kept"


def test_map_tensors_makes_a_dict_of_a_mapping_that_can_not_be_made_again():
    mapped = map_tensors(MappingProxyType(items(*samples(2))), lambda tensor: tensor * 2)
    assert mapped["b"].tolist() == [0, 2]


def test_map_tensors_leaves_the_batch_sizes_of_a_packed_sequence():
    packed = pack_sequence([torch.ones(2, 3), torch.ones(4, 3)], enforce_sorted=False)
    mapped = map_tensors(packed, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    assert isinstance(mapped, PackedSequence)
    assert mapped.data.dtype == torch.float64
    assert mapped.batch_sizes is packed.batch_sizes


def test_moved_gives_the_very_batch_where_its_tensors_are_there_already():
    tree = Encoding(items(*samples(2)))
    assert moved(tree, torch.device("cpu")) is tree
    there = moved(tree, torch.device("meta"))
    assert {tensor.device.type for tensor in tensors_in(there)} == {"meta"}
    assert next(tensors_in(tree)).device.type == "cpu"


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
@settings(max_examples=15)
@given(count=st.integers(4, 9), data=st.data())
def test_batch_counts_and_cuts_a_container_as_its_tensors(make, count, data):
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    a, b = samples(count)
    batch = as_batch((make(a, b), torch.arange(count)))
    inputs, targets = part = batch.part(start, stop)
    assert (batch.samples, part.samples) == (count, stop - start)
    assert type(inputs) is type(make(a, b))
    assert targets.tolist() == list(range(start, stop))
    assert all(one.tolist() in (a[start:stop].tolist(), b[start:stop].tolist()) for one in tensors_in(inputs))


def boxes(*counts):
    return [{"boxes": torch.zeros(count, 4), "labels": torch.zeros(count).long()} for count in counts]


COUNTED = {
    "images": (torch.zeros(8, 3, 5, 5), torch.zeros(8), 8),
    "as many features as samples": (torch.zeros(4, 4), torch.zeros(4), 4),
    "square images": (torch.zeros(6, 1, 6, 6), torch.zeros(6), 6),
    "two tasks, dict": (torch.zeros(8, 4), {"one": torch.zeros(8), "two": torch.zeros(8)}, 8),
    "two tasks, tuple": (torch.zeros(8, 4), (torch.zeros(8), torch.zeros(8)), 8),
    "two tasks, list, of two features": (torch.zeros(8, 2), [torch.zeros(8), torch.zeros(8)], 8),
    "time first": (torch.zeros(40, 16, 3), torch.zeros(16), 16),
    "time first, as many steps as samples": (torch.zeros(16, 16, 3), torch.zeros(16), 16),
    "time first with lengths": ((torch.zeros(40, 16, 3), torch.zeros(16)), torch.zeros(16), 16),
    "masks": (torch.zeros(5, 3, 8, 8), torch.zeros(5, 8, 8), 5),
    "packed": (pack_sequence([torch.zeros(3, 2)] * 4), torch.zeros(4), 4),
    "one dict of boxes per image": (torch.zeros(3, 3, 9, 9), boxes(1, 2, 5), 3),
    "one dict of one box per image": (torch.zeros(4, 3, 9, 9), boxes(1, 1, 1, 1), 4),
    "images as a list": ([torch.zeros(3, 9, 9)] * 5, boxes(1, 2, 5, 0, 2), 5),
    "images of many sizes": ([torch.zeros(3, size, 9) for size in (4, 5)], boxes(3, 3), 2),
    "names": (torch.zeros(3, 2), ["a", "b", "c"], 3),
    "no targets": (torch.zeros(3, 2), None, 3),
}


@pytest.mark.parametrize(("inputs", "targets", "expected"), COUNTED.values(), ids=COUNTED)
def test_count_samples_takes_the_dimension_that_all_tensors_agree_in(inputs, targets, expected):
    assert count_samples(inputs, targets) == expected


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (torch.zeros(4, 3, 8, 8), torch.zeros(17, 6)),  # objects of all images in one tensor
        (torch.zeros(40, 16, 3), torch.zeros(40 * 16)),
        (torch.zeros(16, 7, 3), torch.zeros(7, 16)),
        ({"x": torch.zeros(5, 2), "y": torch.zeros(6, 3)}, torch.zeros(4)),
    ],
)
def test_count_samples_refuses_a_batch_that_can_be_read_in_several_ways_or_none(inputs, targets):
    with pytest.raises(DataError, match=r"can't tell how many samples.*batch_dim"):
        count_samples(inputs, targets)


def test_count_samples_takes_the_dimension_that_the_user_names():
    assert count_samples(torch.zeros(40, 16, 3), torch.zeros(40, 16), 1) == 16
    with pytest.raises(DataError, match="batch_dim is 2"):
        count_samples(torch.zeros(4, 3), torch.zeros(4), 2)


def test_batch_is_cut_along_the_dimension_that_counts_its_samples():
    steps = torch.arange(5 * 4 * 2).view(5, 4, 2)
    inputs, targets = as_batch((steps, torch.arange(4))).part(1, 3)
    assert inputs.equal(steps[:, 1:3])
    assert targets.tolist() == [1, 2]


def test_batch_of_packed_sequences_is_cut_into_sequences():
    sequences = [torch.full((length, 2), float(length)) for length in (2, 5, 3)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    inputs, _ = as_batch((packed, torch.arange(3))).part(1, 3)
    expected = pack_sequence(sequences[1:], enforce_sorted=False)
    assert all(one.equal(other) for one, other in zip(inputs, expected, strict=True))


def test_batch_of_lists_is_cut_into_their_items():
    images = [torch.full((1, size, 4), float(size)) for size in (2, 4, 6)]
    inputs, targets = as_batch((images, boxes(1, 2, 5))).part(1, 3)
    assert [one is other for one, other in zip(inputs, images[1:], strict=True)] == [True, True]
    assert [len(one["boxes"]) for one in targets] == [2, 5]


@pytest.mark.parametrize(
    "pair",
    [
        (torch.zeros(16, 16, 3), torch.zeros(16)),
        (torch.zeros(16, 16).long(), torch.zeros(16)),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], torch.zeros(2)),
        (Plain(*samples(4)), torch.zeros(4)),
    ],
    ids=["as many steps as samples", "as many tokens as samples", "two of two", "an object"],
)
def test_batch_is_not_cut_where_it_is_not_clear_what_belongs_to_a_sample(pair):
    with pytest.raises(DataError, match=r"can't.*(cut|tell).*batch_dim"):
        as_batch(pair).part(0, 1)


def test_batch_is_cut_where_the_user_says_what_belongs_to_a_sample():
    steps = torch.arange(16 * 16 * 2).view(16, 16, 2)
    inputs, _ = as_batch((steps, torch.zeros(16)), batch_dim=1).part(3, 5)
    assert inputs.equal(steps[:, 3:5])


def test_batch_is_read_anew_where_what_made_it_can_do_so():
    again = Batch("again", None, 2)
    batch = Batch(torch.zeros(7, 6), torch.zeros(3), 4, reread=lambda start, stop: again)
    assert batch.part(1, 3) is again
    assert batch.part(0, 4) is batch


@pytest.mark.parametrize("kind", [dict, UserDict, Encoding])
def test_a_dict_with_labels_is_all_of_the_inputs(kind):
    batch = kind({"labels": torch.zeros(3), "x": torch.zeros(3, 2)})
    inputs, targets = whole = as_batch(batch)
    assert inputs is batch
    assert targets is batch["labels"]
    assert whole.samples == 3


@given(samples=st.integers(1, 300), size=st.integers(1, 300))
def test_micro_batch_bounds_are_even_and_as_few_as_the_size_allows(samples, size):
    bounds = micro_batch_bounds(samples, size)
    lengths = [stop - start for start, stop in bounds]
    assert sum(lengths) == samples
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 8
    assert (len(lengths) - 1) * size < samples


@pytest.mark.parametrize(
    ("samples", "size", "parts"),
    [
        (500, 256, [248, 252]),
        (500, 128, [128, 128, 120, 124]),
        (100, 32, [24, 24, 24, 28]),
        (128, 64, [64, 64]),
        (125, 64, [64, 61]),
        (9, 8, [4, 5]),
        (17, 8, [5, 6, 6]),
        (10, 4, [3, 3, 4]),
        (7, 7, [7]),
    ],
)
def test_micro_batch_bounds_cut_evenly_into_multiples_of_eight(samples, size, parts):
    bounds = micro_batch_bounds(samples, size)
    assert [stop - start for start, stop in bounds] == parts


@given(st.integers(1, 3000), st.integers(1, 40))
def test_micro_batch_bounds_leave_no_sample_out_and_none_alone(samples, eights):
    size = 8 * eights
    sizes = [stop - start for start, stop in micro_batch_bounds(samples, size)]
    assert sum(sizes) == samples
    assert len(sizes) == math.ceil(samples / size)
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 8
    assert min(sizes) > 1 or samples == 1
    assert all(part % 8 == 0 for part in sizes[:-1]) or samples < 8 * len(sizes)
