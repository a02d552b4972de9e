"""What the caller doesn't use of the outputs may change, and what he uses stays exact."""

import numpy as np
import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.data.used_outputs import UsedOutputs
from evoprune.errors import SurgeryError, UsageError
from evoprune.mask_plan import PackedMask
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.space.analysis import trace_space
from tests.channels.nets import image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Detector(nn.Module):
    """Predictions, with the feature maps that they are made of; in training another structure, as YOLO's."""

    def __init__(self):
        super().__init__()
        self.stem, self.neck, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        features = self.norm(self.stem(x)).relu()
        neck = self.neck(features).relu()
        boxes = self.head(neck)
        return {"boxes": boxes, "maps": [features, neck]} if self.training else (boxes, [features, neck])


@pytest.fixture
def net():
    return randomise(Detector())


def names(space):
    return [group.name for group in space.groups]


def test_unused_outputs_freeze_nothing(net):
    assert names(ep.analyze(net, image())) == []
    assert names(ep.analyze(net, image(), outputs=0)) == ["stem", "neck"]
    assert names(ep.analyze(net, image(), outputs=["0", "1.1"])) == ["stem"]
    assert names(ep.analyze(net, image(), outputs=lambda found: found[1][0])) == ["neck"]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_used_output_equals_that_of_the_masked_network(net, keep):
    net, x = net.double(), image().double()
    plan = ep.analyze(net, x, outputs=0).random_plan(keep=keep, seed=1)
    small, masked = ep.prune(net, plan), ep.mask(net, plan)
    with torch.no_grad():
        torch.testing.assert_close(small(x)[0], masked(x)[0], rtol=1e-12, atol=1e-12)
    assert small(x)[1][0].shape[1] < 8
    assert ep.verify(net, plan, x, outputs=0).relative < 1e-12


def test_verify_without_outputs_says_what_to_pass(net):
    plan = ep.analyze(net, image(), outputs=0).random_plan(keep=0.5, seed=1)
    with pytest.raises(SurgeryError, match=r"outputs have shapes .*say which, as to analyze: outputs='logits'"):
        ep.verify(net, plan, image())


def test_verify_finds_a_used_output_that_changes(net):
    plan = ep.analyze(net, image(), outputs=0).random_plan(keep=0.5, seed=1)
    with pytest.raises(SurgeryError, match="outputs have shapes"):
        ep.verify(net, plan, image(), outputs="1.0")


def test_verify_of_masks_compares_what_is_used(net):
    kept = np.arange(24).reshape(4, 6, 1, 1) % 2 == 0
    plan = ep.MaskPlan({"head.weight": PackedMask.from_bools(kept)}, fingerprint(net))
    assert ep.verify(net, plan, image(), outputs=0).agrees
    with pytest.raises(UsageError, match="outputs=2"):
        ep.verify(net, plan, image(), outputs=2)


class Wrong(Detector):
    """Its used output depends on how wide the unused one is."""

    def forward(self, x):
        boxes, maps = super().forward(x)
        return boxes / maps[0].shape[1], maps


def test_self_check_compares_what_is_used():
    net = randomise(Wrong())
    assert names(trace_space(net, image(), outputs=UsedOutputs.of(0))) == ["stem", "neck"]
    space = ep.analyze(net, image(), outputs=0)
    assert names(space) == ["neck"]
    assert "failed the self-check" in {item.name: item.reason for item in space.frozen}["stem"]


class WrongInTraining(Detector):
    """In training its output depends on a width."""

    def forward(self, x):
        found = super().forward(x)
        return {**found, "boxes": found["boxes"] * found["maps"][0].shape[1]} if self.training else found


def test_training_is_compared_where_the_part_is_missing_there():
    assert names(ep.analyze(randomise(WrongInTraining()), image(), outputs=0)) == ["neck"]


def test_outputs_that_are_not_there_are_refused(net):
    with pytest.raises(UsageError, match="outputs='logits': there is no 'logits' in a tuple of 2"):
        ep.analyze(net, image(), outputs="logits")
    with pytest.raises(UsageError, match="names no part"):
        ep.analyze(net, image(), outputs=1.5)
