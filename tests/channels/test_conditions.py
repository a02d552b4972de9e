"""Models as they are found in practice: wrapped, half frozen, in training, in half precision. Nothing about them changes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.channels.reference import mask
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.objectives.compute import count
from tests.channels.nets import Concat, Residual, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.mark.slow
def test_data_parallel_is_pruned_inside_its_wrapper():
    model = nn.DataParallel(randomise(Residual()))
    space = analyze(model, image())
    plan = space.random_plan(0.5, 0)
    small = prune(model, plan)
    assert isinstance(small, nn.DataParallel)
    assert small.module.stem.out_channels == 4
    torch.testing.assert_close(small(image()), mask(model, plan)(image()))
    assert verify(model, plan, image()).relative <= 1e-10
    assert count(small, image()).macs < count(model, image()).macs
    assert np.array_equal(
        importance(model, space, "l1"), importance(model.module, analyze(model.module, image()), "l1")
    )


def test_frozen_parameters_are_cut_and_stay_frozen():
    model = randomise(Residual())
    for parameter in (model.stem.weight, model.bn1.bias, model.head.weight):
        parameter.requires_grad_(False)
    small = prune(model, analyze(model, image()).random_plan(0.5, 0))
    flags = {name: parameter.requires_grad for name, parameter in small.named_parameters()}
    assert flags == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert small.stem.weight.shape[0] == 4
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_precision(dtype):
    model, inputs = randomise(Concat()).to(dtype), image().to(dtype)
    plan = analyze(model, inputs).random_plan(0.5, 0)
    small = prune(model, plan)
    assert {tensor.dtype for tensor in small.parameters()} == {dtype}
    assert small(inputs).dtype == dtype
    torch.testing.assert_close(small(inputs), mask(model, plan)(inputs), rtol=2e-2, atol=2e-2)
    assert verify(model, plan, inputs).dtype == torch.float64


def test_a_model_in_training_is_left_as_it_was():
    model = randomise(Residual()).train()
    model.bn2.eval()
    model.bn1.momentum = None  # cumulative average: every forward pass in training mode would show
    before = {name: value.clone() for name, value in model.state_dict().items()}
    versions = {name: value._version for name, value in model.named_parameters()}
    space = analyze(model, image())
    plan = space.random_plan(0.5, 0)
    small = prune(model, plan)
    mask(model, plan)
    verify(model, plan, image())
    count(model, image())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert {name: value._version for name, value in model.named_parameters()} == versions
    modes = [module.training for module in model.modules()]
    assert modes == [module.training for module in small.modules()]
    assert modes.count(False) == 1


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_the_mode_around_the_calls_does_not_matter(mode):
    model = randomise(Residual())
    with mode():
        space = analyze(model, image())
        plan = space.random_plan(0.5, 0)
        small = prune(model, plan)
        assert verify(model, plan, image()).relative <= 1e-10
    assert [(group.name, group.size) for group in space.groups] == [("stem", 8), ("conv1", 8)]
    small.train()(image()).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


def test_a_model_made_for_inference_alone_is_pruned():
    with torch.inference_mode():
        model, inputs = randomise(Residual()), image()
    space = analyze(model, inputs)
    assert verify(model, space.random_plan(0.5, 0), inputs).relative <= 1e-10
    assert count(prune(model, space.random_plan(0.5, 0)), inputs).macs < count(model, inputs).macs


NAME_SPACE = """
import hashlib, pickle, sys
from evoprune.channels.analyze import analyze
from evoprune.rng import isolated_rng
from tests.channels.nets import Residual, image, randomise
space = pickle.loads(sys.stdin.buffer.read())
with isolated_rng(7):
    own = analyze(randomise(Residual()), image())
bits = own.random_bits(0.5, 3)
print(space.digest == own.digest, space.plan(bits) == own.plan(bits), hashlib.sha256(repr(own.groups).encode()).hexdigest())
print(own.fingerprint, [group.name for group in own.groups])
"""


@pytest.mark.slow
def test_a_space_is_the_same_in_every_process():
    space = analyze(randomise(Residual()), image())
    answers = [
        subprocess.run(
            [sys.executable, "-c", NAME_SPACE],
            input=pickle.dumps(space),
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert answers[0].startswith("True True")
    assert answers[0].endswith(f"{space.fingerprint} {[group.name for group in space.groups]}\n")
