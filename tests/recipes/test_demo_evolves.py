"""The demo's promise on its own data: fitness rises over the generations by more than its noise."""

import json

import pytest
import torch

import evoprune as ep
from evoprune.evaluation.training import Schedule, train
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.recipes.mnist_cnn import mnist_cnn
from evoprune.seeding import SeedTree

SETTINGS = {
    "ga": {"pop_size": 18, "num_generations": 3},
    "training": {"finetune_steps": 6, "finetune_batch_size": 64, "finetune_lr": 0.01, "retrain_epochs": 0.05},
    "search": {"round_to": 4, "baselines": "none"},
    "fidelity": {"recalibrate_batches": 2},
    "execution": {"executor": "in-process", "isolation": "none"},
}


@pytest.fixture(scope="module")
def trained(real_mnist):
    """The demo's network after half an epoch, with its task."""
    del real_mnist  # skips where the data can't be had
    model, task, example_inputs = mnist_cnn(select_size=1000)
    schedule = Schedule(120, 128, "adamw", 0.005, 0.01)
    batches = MicroBatch(None, stage="training")
    with torch_threads(1):
        train(
            model,
            task.train,
            schedule,
            loss=task.loss,
            seeds=SeedTree(0),
            device=torch.device("cpu"),
            micro_batch=batches,
        )
    return model.eval(), task, example_inputs


@pytest.mark.slow
def test_fitness_rises_by_more_than_its_noise_in_four_of_five_seeds(trained, tmp_path):
    risen = []
    for seed in range(5):
        out = tmp_path / str(seed)
        ep.evolve(*trained, config=SETTINGS, constraints=["macs<=0.09"], seed=seed, out=out)
        events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
        first, *_, last = [one for one in events if one["event"] == "GenerationEnded"]
        risen.append(last["best_fitness"] - first["best_fitness"] > max(first["noise"], last["noise"]))
    assert sum(risen) >= 4
