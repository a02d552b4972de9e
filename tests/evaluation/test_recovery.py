from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.errors import DeviceMemoryError
from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.evaluation.recovery import Fidelity, recover
from evoprune.evaluation.training import Schedule, train
from evoprune.nn_utils.memory import MicroBatch
from evoprune.seeding import SeedTree
from tests.evaluation.doubles import CPU, network, points

SEEDS = SeedTree(0).child("candidate")
FIDELITY = Fidelity(recalibrate_batches=3, schedule=Schedule(4, 16, "adamw", 0.01, 0.1))
TASK = Task(train=points(64), val=points(8, seed=1), test=points(8, seed=2))


def recovered(fidelity, *, model=None, micro_batch=None):
    model = model or network(nn.BatchNorm1d(7))
    micro_batch = micro_batch or MicroBatch(16, stage="test")
    recover(model, TASK, fidelity, seeds=SEEDS, device=CPU, micro_batch=micro_batch)
    return model.state_dict()


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_recover_recalibrates_then_trains_with_seeds_of_their_own():
    model = network(nn.BatchNorm1d(7))
    seed = SEEDS.child("recalibrate").seed
    recalibrate_batch_norm(model, TASK.train, batches=3, batch_size=16, device=CPU, seed=seed)
    train(
        model,
        TASK.train,
        FIDELITY.schedule,
        loss=functional.cross_entropy,
        seeds=SEEDS.child("finetune"),
        device=CPU,
        micro_batch=MicroBatch(16, stage="test"),
    )
    assert same(recovered(FIDELITY), model.state_dict())


def test_recover_does_nothing_at_the_rung_that_costs_nothing():
    nothing = Fidelity(recalibrate_batches=0, schedule=replace(FIDELITY.schedule, steps=0))
    assert same(recovered(nothing), network(nn.BatchNorm1d(7)).state_dict())
    assert not same(recovered(FIDELITY), network(nn.BatchNorm1d(7)).state_dict())


class Crowded(nn.Module):
    """Has room for so many samples at once."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        if len(inputs) > self.room:
            raise torch.OutOfMemoryError("full")
        return inputs


def test_recover_starts_the_statistics_again_when_memory_runs_out_while_recalibrating():
    statistics = Fidelity(recalibrate_batches=3, schedule=replace(FIDELITY.schedule, steps=0))
    crowded, micro_batch = Crowded(room=8), MicroBatch(16, stage="test")
    found = recovered(statistics, model=network(nn.BatchNorm1d(7), crowded), micro_batch=micro_batch)
    wanted = recovered(statistics, micro_batch=MicroBatch(8, stage="test"))
    assert crowded.sizes == [16, 8, 8, 8]
    assert found["1.running_mean"].equal(wanted["1.running_mean"])
    assert int(found["1.num_batches_tracked"]) == 3


def test_recover_gives_up_when_the_smallest_batch_does_not_fit():
    with pytest.raises(DeviceMemoryError):
        recovered(FIDELITY, model=network(Crowded(room=0), nn.BatchNorm1d(7)))
