import numpy as np
import pytest
import torch

from evoprune.masks.maskable import maskable_weights
from evoprune.masks.neurons import NONE
from evoprune.recipes.lenet5 import LeNet5
from evoprune.run.mask_neurons import neurons_of
from tests.run.mask_directories import journal, steps


def test_neurons_of_lenet5_are_its_channels_and_units_through_the_flatten(seeded_torch):
    model = LeNet5()
    neurons = neurons_of(model, torch.zeros(1, 1, 28, 28), maskable_weights(model))
    sizes = {name: len(numbers) for name, numbers in neurons.outputs.items()}
    assert [size for _, size in neurons.groups] == [6, 16, 120, 84]
    assert sizes == {"conv1.weight": 6, "conv2.weight": 16, "fc1.weight": 120, "fc2.weight": 84, "fc3.weight": 10}
    assert neurons.inputs["fc1.weight"].tolist() == np.repeat(neurons.outputs["conv2.weight"], 25).tolist()
    assert neurons.inputs["fc3.weight"].tolist() == neurons.outputs["fc2.weight"].tolist()
    assert {*neurons.inputs["conv1.weight"], *neurons.outputs["fc3.weight"]} == {NONE}


def test_a_run_without_any_rule_evolves_neurons_to_the_goal(mask_run):
    directory = mask_run(search={"encoding": "neuron-bits", "seeding": "none"}, masks={"goals": [0.5, 0.8]})
    assert [one["sparsity"] for one in steps(directory)] == pytest.approx([0.5, 0.8], abs=1e-3)
    assert {line["encoding"] for line in journal(directory)} == {"neuron-bits"}
