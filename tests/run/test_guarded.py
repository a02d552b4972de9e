import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from evoprune.errors import WorkerLostError
from evoprune.events import Caution, EpochEnded, WorkerDied
from evoprune.execution.apart import can_work_apart
from evoprune.nn_utils.network_state import put_state, state_of
from evoprune.nn_utils.weights import weight_bytes
from evoprune.results import Status
from evoprune.run import guarded
from evoprune.run.factories.common import workplace_of
from evoprune.run.factories.runs import execute
from evoprune.run.guarded import TrainingGuard
from evoprune.store.journal import Journal
from evoprune.store.manifest import Manifest
from tests.run import crashing
from tests.run.keeper import Keeper

CPU = torch.device("cpu")
TWO = {"recipe": None, "execution": {"training_threads": 2}}
needs_forks = pytest.mark.skipif(not can_work_apart(), reason="needs forks")


APART = {"execution": {"isolation": "auto"}}


@pytest.fixture
def small_config(small_config):
    return partial(small_config, APART)


@pytest.fixture
def mask_config(mask_config):
    return partial(mask_config, APART)


@pytest.fixture
def guard(tmp_path, small_config):
    """A guard, what it keeps and what it has said."""

    def build(keeper=None, **execution):
        config = small_config({"execution": {"training_threads": 2, "channels_last": False, **execution}})
        said, kept = [], keeper or Keeper()
        return TrainingGuard(workplace_of(config), kept, tmp_path, said.append), kept, said

    return build


def crashes(said):
    return [event for event in said if isinstance(event, Caution) and event.what == "training"]


def network(when=crashing.never):
    return crashing.problem(when).model


def learn(model, seen=None):
    """One step that crashes under the model's conditions."""

    def work(notify):
        notify(EpochEnded("retrain", 0, 1, 0.5, None))
        if seen is not None:
            seen.append(torch.get_num_threads())
        model.train()
        model(torch.ones(8, 3, 8, 8)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.01 * parameter.grad)
        model.zero_grad()
        return torch.get_num_threads()

    return work


@needs_forks
def test_training_apart_leaves_what_training_here_leaves(guard):
    here, apart = network(), network()
    one, _, told = guard(isolation="none")
    other, _, said = guard()
    assert (one.train("a", here, learn(here)), other.train("a", apart, learn(apart))) == (2, 2)
    assert weight_bytes(here) == weight_bytes(apart)
    assert here.bn.training is apart.bn.training is True
    assert told == said == [EpochEnded("retrain", 0, 1, 0.5, None)]


@needs_forks
@pytest.mark.parametrize("when", [crashing.with_two_threads, crashing.channels_last])
def test_crash_is_told_with_what_ran_and_done_again_carefully(guard, when):
    model, careful = network(when), network()
    torch_guard, keeper, said = guard(channels_last=True)
    assert torch_guard.train("retraining", model, learn(model)) == 1
    cautions = crashes(said)
    assert len(cautions) == 1
    for words in ("retraining crashed", "SIGSEGV", "2 threads, channels last", "conv1 8x3x3x3, conv2 8x8x3x3"):
        assert words in cautions[0].detail
    assert list(keeper.manifest.crashes) == ["retraining"]
    one, _, _ = guard(training_threads=1, isolation="none")
    one.train("retraining", careful, learn(careful))
    assert weight_bytes(model) == weight_bytes(careful)
    assert not model.conv2.weight.is_contiguous()


@needs_forks
def test_later_trainings_and_resumes_are_careful_at_once(guard):
    keeper = Keeper(Manifest(crashes={"training the baseline": {"ended": "SIGSEGV"}}))
    model = network(crashing.with_two_threads)
    again, _, said = guard(keeper)
    assert again.train("retraining", model, learn(model)) == 1
    assert crashes(said) == []


@needs_forks
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=lambda one: one.name)
def test_what_nothing_helps_ends_the_run_and_not_the_process(guard, number):
    model = crashing.problem(crashing.always, number).model
    one, keeper, _ = guard()
    with pytest.raises(WorkerLostError, match=f"retraining: the process that trained ended with {number.name}"):
        one.train("retraining", model, learn(model))
    assert bool(keeper.manifest.crashes) is (number is signal.SIGSEGV)


def test_networks_without_convolutions_are_trained_here(guard, monkeypatch, seeded_torch):
    monkeypatch.setattr(guarded, "work_apart", None)
    model, seen = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), []
    one, _, _ = guard()
    one.train("a", model.requires_grad_(), lambda notify: seen.append(torch.get_num_threads()))
    assert seen == [2]


DIES = """
import sys
from pathlib import Path
from evoprune.config.schema import make_config
from evoprune.run.factories.runs import execute
from tests.run import crashing
from tests.run.keeper import Keeper
when, isolation, folder = sys.argv[1:]
config = make_config({"ga": {"pop_size": 4, "num_generations": 1}, "training": {"epochs": 1, "retrain_epochs": 1,
    "batch_size": 64, "finetune_steps": 1}, "execution": {"workers": 1, "training_threads": 2, "isolation": isolation}})
print(execute(config, crashing.source(getattr(crashing, when)), Path(folder)).pruned.figures["macs"])
"""


@pytest.mark.slow
def test_run_whose_own_process_crashed_is_resumed_carefully(tmp_path):
    def run():
        command = [sys.executable, "-c", DIES, "with_two_threads_after_the_baseline", "none", str(tmp_path / "run")]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])

    assert run().returncode == -signal.SIGSEGV
    assert (tmp_path / "run" / "crash.txt").is_file()
    done = run()
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["crashes"]
    assert "Segmentation fault" in next(iter(kept.values()))["ended"]
    assert not (tmp_path / "run" / "crash.txt").exists()


def test_word_of_a_crash_without_its_end_is_no_crash(guard, tmp_path):
    (tmp_path / "crash.txt").write_text(
        '{"name": "retraining", "threads": 2, "layout": "plain layout", "convolutions": ""}\n'
    )
    _, keeper, said = guard()
    assert (keeper.manifest.crashes, said) == ({}, [])
    assert not (tmp_path / "crash.txt").exists()


@pytest.mark.parametrize("damage", ["", "nonsense", "{}\nFatal", '{"name": 3}\nFatal', "\x00\n\x00"])
def test_damaged_word_of_a_crash_is_passed_over(guard, tmp_path, damage):
    (tmp_path / "crash.txt").write_text(damage)
    assert guard()[1].manifest.crashes == {}


@needs_forks
def test_run_survives_crashes_of_baseline_and_retraining(tmp_path, small_config):
    said = []
    found = execute(small_config(TWO), crashing.source(crashing.with_two_threads), tmp_path / "run", (said.append,))
    assert 0 < found.pruned.figures["macs"] <= found.baseline.figures["macs"]
    assert [event.detail.partition(" crashed")[0] for event in crashes(said)] == ["training the baseline"]
    again = execute(small_config(TWO), crashing.source(crashing.with_two_threads), tmp_path / "again")
    documents = [one.to_json() for one in (found, again)]
    for document in documents:
        del document["baseline"]["latency_ms"], document["pruned"]["latency_ms"], document["timings"]
    assert documents[0] == documents[1]
    assert (tmp_path / "run" / "evaluations.jsonl").read_bytes() == (
        tmp_path / "again" / "evaluations.jsonl"
    ).read_bytes()


@pytest.mark.slow
@needs_forks
def test_candidates_that_crash_are_tried_carefully_and_journalled(tmp_path, small_config):
    said = []
    config = small_config({"recipe": None, "execution": {"candidate_threads": 2}})
    execute(config, crashing.source(crashing.narrow), tmp_path / "run", (said.append,))
    deaths = [event for event in said if isinstance(event, WorkerDied)]
    assert deaths
    assert all(event.retried for event in deaths)
    assert "SIGSEGV at conv1" in deaths[0].reason
    assert "plain layout with torch threads: 2" in deaths[0].reason
    journal = Journal(tmp_path / "run" / "evaluations.jsonl")
    assert {entry.evaluation.status for entry in journal.entries} == {Status.OK}
    journal.close()


@pytest.mark.slow
@needs_forks
def test_masks_survive_crashes_as_well(mask_run, tmp_path):
    said = []
    directory = mask_run(
        source=crashing.source(crashing.with_two_threads),
        listeners=(said.append,),
        execution={"training_threads": 2},
        search={"encoding": "keep-ratios"},
        masks={"goals": [0.3], "fisher_samples": 64, "min_class_accuracy": 0},
    )
    assert (directory / "comparison.json").is_file()
    assert len(crashes(said)) == 1


def test_state_brings_back_what_training_changes_besides_weights(seeded_torch):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1).to(memory_format=torch.channels_last)
            self.register_buffer("seen", None)
            self.register_buffer("grown", torch.zeros(1), persistent=False)
            self.steps, self.last = 0, torch.zeros(2)

    there, here = Counting(), Counting()
    there.steps, there.last, there.seen, there.grown = 3, torch.ones(2), torch.ones(1), torch.ones(4)
    with torch.no_grad():
        there.conv.weight.fill_(2)
    there.eval()
    weight = here.conv.weight
    put_state(here, state_of(there))
    assert (here.steps, here.training, here.conv.training) == (3, False, False)
    assert [here.last.tolist(), here.seen.tolist(), here.grown.tolist()] == [[1, 1], [1], [1, 1, 1, 1]]
    assert here.conv.weight is weight
    assert weight.detach().flatten().tolist() == [2, 2]
    assert weight.stride() == there.conv.weight.stride()
