import copy

import pytest
import torch
from torch import nn

from evoprune.data.augmentation import Augmentation
from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.evaluation.known_outputs import KnownOutputs, Taught, with_known_outputs
from evoprune.evaluation.teacher import Distillation
from evoprune.evaluation.training import Schedule, train
from evoprune.nn_utils.memory import MicroBatch
from evoprune.seeding import SeedTree
from tests.evaluation.doubles import CPU

PREPROCESSING = Preprocessing(mean=(0.5,), std=(0.25,))


@pytest.fixture
def images(seeded_torch):
    """Some of 40 images, out of order."""
    rows = torch.randperm(40)[:30]
    return TensorSource(torch.randint(0, 256, (40, 1, 4, 4)).byte(), torch.randint(0, 3, (40,)), PREPROCESSING, rows)


@pytest.fixture
def teacher(seeded_torch):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3)).eval()


def known(images, teacher):
    return with_known_outputs(images, teacher, device=CPU, batch_size=7)


@pytest.mark.parametrize("seed", [None, 3])
def test_batches_are_those_of_the_set_with_what_the_teacher_says_of_each(images, teacher, seed):
    source = known(images, teacher)
    assert isinstance(source, KnownOutputs)
    assert (len(source), source.batch_count(8)) == (len(images), images.batch_count(8))
    pairs = zip(source.batches(8, device=CPU, seed=seed), images.batches(8, device=CPU, seed=seed), strict=True)
    for batch, plain in pairs:
        inputs, taught = batch
        assert isinstance(taught, Taught)
        assert torch.equal(inputs, plain[0])
        assert torch.equal(taught.targets, plain[1])
        assert torch.allclose(taught.wanted, teacher(inputs), atol=1e-6)


@pytest.mark.parametrize("micro", [None, 3])
def test_a_training_is_that_which_asks_the_teacher_in_each_step(images, teacher, micro, seeded_torch):
    learner = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    lesson, results = Distillation(0.7, 2.0).by(teacher), []
    for source in (images, known(images, teacher)):
        model = copy.deepcopy(learner)
        schedule = Schedule(9, 8, "sgd", 0.1, 0.0)
        train(
            model, source, schedule, loss=nn.CrossEntropyLoss(), seeds=SeedTree(0), device=CPU,
            micro_batch=MicroBatch(micro, stage="training"), teacher=lesson,
        )  # fmt: skip
        results.append(model[1].weight.detach())
    assert torch.allclose(*results, atol=1e-5)
    assert not torch.allclose(results[0], learner[1].weight, atol=1e-2)


def test_augmented_images_and_too_many_outputs_are_left_to_the_teacher(images, teacher, monkeypatch):
    augmented = TensorSource(
        images.images, images.labels, PREPROCESSING, images.rows, Augmentation(padding=1, flip=True)
    )
    assert known(augmented, teacher) is augmented
    monkeypatch.setattr("evoprune.evaluation.known_outputs.KEPT_BYTES", 30 * 3 * 4 - 1)
    assert known(images, teacher) is images
