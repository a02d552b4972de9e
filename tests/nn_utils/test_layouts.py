import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.batches import Batch
from evoprune.nn_utils.layouts import Trial, arranged, convolutions_of

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Viewing(nn.Module):
    def __init__(self, fails_in=None):
        super().__init__()
        self.conv, self.head, self.fails_in = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(64, 4), fails_in

    def forward(self, images):
        features = functional.max_pool2d(self.conv(images), 2)
        if self.fails_in is not None and self.training is not self.fails_in:
            return self.head(features.flatten(1))
        return self.head(features.view(features.size(0), -1))


class BackwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features):
        return features.flatten(1)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.reshape(-1, 4, 4, 4).contiguous(memory_format=torch.channels_last).view(-1).view(-1, 4, 4, 4)


class FailingBackwards(Viewing):
    def forward(self, images):
        weight = self.conv.weight
        features = functional.max_pool2d(self.conv(images), 2)
        if weight.is_contiguous():
            return self.head(features.flatten(1))
        return self.head(BackwardOnly.apply(features))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3, 1, 1))

    def forward(self, images):
        return functional.conv2d(images, self.weight, stride=(1, 2)).mean((2, 3))


def trial(model, loss=functional.cross_entropy):
    return Trial(model, Batch(torch.randn(8, 3, 8, 8), torch.randint(4, (8,)), 8, batch_dim=0), loss, "float32")


@pytest.mark.parametrize("mode", [None, True, False])
def test_objection_names_the_error_when_a_network_runs_in_the_given_layout_alone(mode):
    objection = trial(Viewing(mode)).objection()
    assert "channels last: RuntimeError: view size is not compatible" in objection
    assert "\n" not in objection


def test_objection_tries_backward_as_well():
    assert "RuntimeError: view size is not compatible" in trial(FailingBackwards()).objection()


def test_objection_is_none_when_both_layouts_do_the_same():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert trial(model).objection() == ""
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_objection_sees_gradients_that_are_others():
    class Wrong(Viewing):
        def forward(self, images):
            return self.head((self.conv(images) * (1 + (not self.conv.weight.is_contiguous()))).flatten(1)[:, :64])

    assert "gradients" in trial(Wrong()).objection()


def test_convolutions_of_sees_strides_of_functions_as_well():
    found = convolutions_of(Functional(), torch.randn(2, 3, 8, 8))
    assert found.macs == 2 * 6 * 3 * 8 * 4
    assert found.strided_pointwise == "1x1 convolution with stride 2, 3 to 6 channels"


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), ((1, 3), 2)])
def test_convolutions_of_names_no_other_convolution(kernel, stride):
    model = nn.Conv2d(3, 4, kernel, stride, groups=1)
    found = convolutions_of(model, torch.randn(2, 3, 9, 9))
    assert found.strided_pointwise == ""
    assert found.macs == model(torch.randn(2, 3, 9, 9)).numel() * model.weight[0].numel()


def test_speed_up_compares_two_layouts_of_one_network():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    assert 0.01 < trial(model).speed_up() < 100
    assert model[0].weight.grad is None


def test_arranged_turns_weights_either_way_and_leaves_others():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    values = model[0].weight.detach().clone()
    assert arranged(model, channels_last=True)[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert arranged(model, channels_last=False)[0].weight.is_contiguous()
    assert model[0].weight.equal(values)
