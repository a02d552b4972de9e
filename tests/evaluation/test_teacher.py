import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import UnsupportedModelError
from evoprune.evaluation.teacher import Teacher, check_distilled


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 2.0), (0.3, 1.0), (1.0, 4.0)])
def test_mixed_is_the_divergence_written_down_from_the_paper(share, temperature):
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = (torch.randn(6, 4, generator=generator) for _ in range(2))
    wanted, given = (torch.softmax(one / temperature, dim=1) for one in (inputs, outputs))
    divergence = (wanted * (wanted / given).log()).sum(1).mean()
    mixed = Teacher(nn.Identity(), share, temperature).mixed(torch.tensor(0.7), outputs, inputs)
    assert float(mixed) == pytest.approx(float((1 - share) * 0.7 + share * temperature**2 * divergence), rel=1e-5)


def test_gradient_is_zero_when_the_learner_gives_what_the_teacher_gives():
    outputs = torch.tensor([[1.0, 2.0, -1.0]], requires_grad=True)
    Teacher(nn.Identity(), 1.0, 2.0).mixed(functional.mse_loss(outputs, outputs), outputs, outputs.detach()).backward()
    assert outputs.grad.abs().max() < 1e-6


def test_outputs_that_are_no_classes_are_refused_with_the_setting():
    with pytest.raises(UnsupportedModelError, match="distillation compares outputs of classes"):
        Teacher(nn.Identity(), 0.5, 1.0).mixed(torch.tensor(0.0), torch.zeros(3), torch.zeros(3))


OUTPUTS = torch.zeros(2, 3)


@pytest.mark.parametrize(
    "targets",
    [torch.randn(2, 3), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[1, 1, 0], [0, 1, 0]])],
)
def test_targets_that_give_each_output_a_number_are_not_distilled(targets):
    with pytest.raises(UnsupportedModelError, match="classes of which one is right"):
        check_distilled(OUTPUTS, targets)


def test_classes_and_shares_of_classes_are_distilled():
    check_distilled(OUTPUTS, torch.tensor([0, 2]))
    check_distilled(OUTPUTS, torch.tensor([[0.9, 0.05, 0.05], [0.0, 1.0, 0.0]], dtype=torch.float16))
    check_distilled(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))
    with pytest.raises(UnsupportedModelError, match="which this network does not give"):
        check_distilled(torch.zeros(2), torch.zeros(2))
