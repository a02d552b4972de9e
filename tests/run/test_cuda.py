"""What changes on an accelerator: placement, counting, repeatability, running out of memory. `make test-gpu` runs it."""

import json

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.evaluation.training import Schedule, train
from evoprune.events import BatchHalved
from evoprune.nn_utils.memory import MicroBatch
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.seeding import SeedTree
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.conftest import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_run_on_cuda_writes_the_same_journal_twice(tmp_path, small_config):
    config = small_config({"execution": {"device": "cuda"}})
    for name in ("one", "two"):
        execute(config, RecipeSource(TINY, None, None, 0), tmp_path / name)
    journals = [(tmp_path / name / "evaluations.jsonl").read_bytes() for name in ("one", "two")]
    assert journals[0] == journals[1]
    assert ep.load(tmp_path / "one").conv1.weight.device.type == "cpu"


def test_run_in_two_processes_on_one_gpu_writes_the_journal_of_one(tmp_path, small_config):
    share = {"device": "cuda", "devices": [0], "gpus_per_candidate": 0.5, "workers": "auto"}
    for name, execution in {"one": {"device": "cuda"}, "two": share}.items():
        execute(small_config({"execution": execution}), RecipeSource(TINY, None, None, 0), tmp_path / name)
    journals = [(tmp_path / name / "evaluations.jsonl").read_bytes() for name in ("one", "two")]
    assert journals[0] == journals[1]
    lines = [json.loads(line) for line in (tmp_path / "two" / "events.jsonl").read_text().splitlines()]
    assert any("2 candidates at a time" in line.get("detail", "") for line in lines)


def test_pruned_network_stays_on_cuda_and_computes_what_the_masked_one_does(seeded_torch):
    model, inputs = TinyCNN().cuda(), torch.randn(2, 3, 8, 8, device="cuda")
    space = ep.analyze(model, inputs)
    plan = space.random_plan(keep=0.5, seed=0)
    assert ep.verify(model, plan, inputs).relative < 1e-6
    assert ep.prune(model, plan).conv1.weight.device.type == "cuda"
    assert ep.count(model, inputs) == ep.count(model.cpu(), inputs.cpu())


class Greedy(nn.Module):
    """Asks for more memory than there is as soon as it sees more than eight samples."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images):
        if len(images) > 8:
            torch.empty(1 << 50, dtype=torch.uint8, device=images.device)
        return self.fc(images.flatten(1))


def test_training_goes_on_with_smaller_batches_when_the_device_is_full(seeded_torch):
    heard = []
    micro_batch = MicroBatch(32, stage="test", notify=heard.append)
    task = tiny_recipe()[1]
    train(
        Greedy().cuda(),
        task.train,
        Schedule(2, 32, "adamw", 1e-3, 0.0),
        loss=task.loss,
        seeds=SeedTree(0),
        device=torch.device("cuda"),
        micro_batch=micro_batch,
    )
    assert micro_batch.size == 8
    assert heard == [BatchHalved("test", 16), BatchHalved("test", 8)]
