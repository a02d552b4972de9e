"""What is not eager is refused, with what to do instead."""

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.verify import verify
from evoprune.errors import UnsupportedModelError
from tests.channels.nets import image

pytestmark = [
    pytest.mark.usefixtures("seeded_torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.jit"),
]


def net(*middle):
    return nn.Sequential(nn.Conv2d(3, 8, 3), *middle, nn.ReLU(), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)).eval()


class OptimizedModule(nn.Module):
    """What `torch.compile` wraps a module in, without the seconds that importing the compiler takes."""

    __module__ = "torch._dynamo.eval_frame"

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, x):
        return self._orig_mod(x)


@pytest.mark.parametrize("convert", [torch.jit.script, lambda model: torch.jit.trace(model, image())])
def test_torchscript_is_refused(convert):
    with pytest.raises(UnsupportedModelError, match="TorchScript"):
        analyze(convert(net()), image())


def test_a_part_in_torchscript_stays_as_it_is():
    model = net(torch.jit.script(nn.Conv2d(8, 8, 1)))
    space = analyze(model, image())
    assert [group.name for group in space.groups] == ["3"]
    assert {item.reason for item in space.frozen if item.name in "01"} == {"belongs to a TorchScript module"}
    verify(model, space.random_plan(0.5, 0), image())


def test_compiled_models_and_parts_are_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="the model is compiled") as caught:
        analyze(OptimizedModule(net()), image())
    assert "_orig_mod" in str(caught.value)
    with pytest.raises(UnsupportedModelError, match="1 is compiled"):
        analyze(net(OptimizedModule(nn.Conv2d(8, 8, 1))), image())


@pytest.mark.slow
def test_compiled_models_are_refused_whichever_way_they_were_compiled():
    with pytest.raises(UnsupportedModelError, match=r"torch\.compile"):
        analyze(torch.compile(net(), backend="eager"), image())
    model = net()
    model.compile(backend="eager")
    with pytest.raises(UnsupportedModelError, match=r"torch\.compile"):
        analyze(model, image())
