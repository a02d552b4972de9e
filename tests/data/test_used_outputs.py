from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

from evoprune.data.used_outputs import EVERYTHING, Forgiving, UsedOutputs
from evoprune.errors import ConfigError, UsageError

ONE, TWO, THREE = torch.ones(1), torch.ones(2), torch.ones(3)
Pair = namedtuple("Pair", "boxes maps")


class Listing(OrderedDict):
    """Counts its items as well, as the outputs of transformers' models do."""

    def to_tuple(self):
        return tuple(self.values())


OUTPUTS = {
    "a dict": ("logits", {"logits": TWO, "cache": THREE}),
    "an attribute": ("logits", SimpleNamespace(logits=TWO, cache=THREE)),
    "a named tuple": ("boxes", Pair(TWO, THREE)),
    "an index": (0, (TWO, THREE)),
    "an index in words": ("1", [THREE, TWO]),
    "from the end": (-1, (THREE, TWO)),
    "a path": ("1.boxes", (ONE, {"boxes": TWO, "maps": THREE})),
    "a path of attributes": ("head.0", SimpleNamespace(head=[TWO, THREE])),
    "a mapping that counts": (1, Listing(cache=THREE, logits=TWO)),
    "an integer key": (3, {3: TWO, 0: ONE}),
    "a key with a dot": ("a.b", {"a.b": TWO, "a": {"b": ONE}}),
    "a function": (lambda found: found[1] + 0, (ONE, TWO)),
}


@pytest.mark.parametrize(("said", "outputs"), OUTPUTS.values(), ids=OUTPUTS)
def test_part_is_found_in(said, outputs):
    assert [tensor.numel() for tensor in UsedOutputs.of(said)(outputs)] == [2]


def test_several_parts_come_in_the_order_named():
    found = UsedOutputs.of(["boxes", "scores"])({"scores": ONE, "boxes": TWO, "maps": THREE})
    assert [tensor.numel() for tensor in found] == [2, 1]


def test_everything_counts_where_nothing_is_said():
    assert UsedOutputs.of(None).everything
    assert UsedOutputs.of(None) == EVERYTHING
    assert len(EVERYTHING({"a": ONE, "b": [TWO, THREE]})) == 3


def test_function_goes_by_its_import_path():
    assert UsedOutputs.of("evoprune.metrics.outputs:logits_of")({"logits": TWO, "cache": THREE})[0] is TWO
    with pytest.raises(ConfigError, match="no module 'nowhere'"):
        UsedOutputs.of("nowhere:function")


@pytest.mark.parametrize("said", [1.5, True, [], [None], {"a": 1}])
def test_what_names_no_part_is_refused(said):
    with pytest.raises(UsageError, match="names no part of a network's outputs"):
        UsedOutputs.of(said)


@pytest.mark.parametrize(
    ("said", "outputs", "message"),
    [
        ("logitz", {"logits": TWO, "kv": ONE}, "outputs='logitz': there is no 'logitz' in a dict with the keys logits, kv"),
        (2, (ONE, TWO), "outputs=2: there is no '2' in a tuple of 2"),
        (0, TWO, r"outputs=0: there is no '0' in a tensor \[2\] of float32"),
        ("1.boxes", (ONE, {"b": TWO}), "outputs='1.boxes': there is no 'boxes' in a dict with the keys b"),
        ("logits", SimpleNamespace(scores=TWO), "no 'logits' in a SimpleNamespace with scores"),
        ("loss", {"loss": None, "logits": TWO}, "outputs='loss' of the model's outputs holds no tensor"),
        (lambda found: found["x"], {"y": ONE}, "fails on what the model returns, a dict with the keys y: KeyError: 'x'"),
    ],
)  # fmt: skip
def test_part_that_is_not_there_is_named_along_with_what_is(said, outputs, message):
    with pytest.raises(UsageError, match=message):
        UsedOutputs.of(said)(outputs)


def test_forgiving_takes_everything_and_says_so_where_the_part_is_missing():
    used = Forgiving(UsedOutputs.of("logits"))
    assert len(used({"logits": ONE, "cache": TWO})) == 1
    assert not used.gave_up
    assert len(used([ONE, TWO])) == 2
    assert used.gave_up
