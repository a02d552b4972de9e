"""Networks whose backward pass ends the process, under conditions: what torch's kernels have done, at will."""

import signal
import threading

import torch
from torch import nn
from torch.nn import functional

from evoprune.rng import isolated_rng
from evoprune.run.problem import LiveSource, Problem
from evoprune.testing.tiny import tiny_recipe


class Ender(torch.autograd.Function):
    """Passes values through; on the way back the process ends."""

    @staticmethod
    def forward(ctx, values, number):
        ctx.number = number
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        signal.pthread_kill(threading.get_ident(), ctx.number)
        return gradient, None


class Crashing(nn.Module):
    """A small CNN; `when` looks at its weights and at the threads."""

    def __init__(self, when, number=signal.SIGSEGV):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 4, 4)
        self.when, self.number = when, int(number)

    def forward(self, images):
        features = functional.relu(functional.max_pool2d(self.conv1(images), 2))
        if torch.is_grad_enabled() and self.when(self):
            features = Ender.apply(features, self.number)
        return self.head(functional.max_pool2d(self.bn(self.conv2(features)), 2).flatten(1))


def with_two_threads(model):
    """As torch's backward pass of strided 1x1 convolutions may."""
    del model
    return torch.get_num_threads() > 1


def with_two_threads_after_the_baseline(model):
    """In retraining alone: pruned networks have no counter of their own."""
    return torch.get_num_threads() > 1 and model.conv1.out_channels * model.conv2.out_channels < 64


def channels_last(model):
    """Whatever the threads."""
    return not model.conv2.weight.is_contiguous()


def never(model):
    """A network like any other."""
    del model
    return False


def always(model):
    """Nothing helps."""
    del model
    return True


def narrow(model):
    """A width that pruning comes to, unless the process is careful."""
    return model.conv1.out_channels < 8 and torch.get_num_threads() > 1


def narrow_always(model):
    """A width that pruning comes to."""
    return model.conv1.out_channels < 8


def problem(when, number=signal.SIGSEGV):
    """The tiny task with a network that crashes."""
    _, task, inputs = tiny_recipe()
    with isolated_rng(0):
        return Problem(Crashing(when, number), task, inputs)


def source(when, number=signal.SIGSEGV):
    """The same, for `execute`."""
    return LiveSource(problem(when, number))
