"""Fine-tuning of finished runs: masks held, nothing of the run changed, the test set read once."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

import evoprune as ep
from evoprune.errors import ConfigError, ReplayMismatchError, RunError, UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.store.claim import Claim
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.resumed import left_over
from tests.run.test_full_disk import Disk

TINY = "evoprune.testing.tiny:tiny_recipe"
TRAINING = {"epochs": 1, "retrain_epochs": 1, "batch_size": 64}
COMMON = {
    "execution": {"workers": 1, "training_threads": 1, "isolation": "none"},
    "ga": {"pop_size": 4, "num_generations": 2},
}
MASKS = {
    **COMMON,
    "training": TRAINING,
    "search": {"encoding": "keep-ratios"},
    "masks": {"goals": [0.5, 0.8]},
    "fidelity": {"select_samples": 64},
}
CHANNELS = {**COMMON, "training": {**TRAINING, "finetune_steps": 2}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of each kind; copied, never changed."""
    folder = tmp_path_factory.mktemp("runs")
    patch = pytest.MonkeyPatch()
    patch.setenv("EVOPRUNE_CACHE", str(folder / "cache"))
    for name, config in (("masks", MASKS), ("channels", CHANNELS)):
        ep.run_recipe(TINY, config=config, out=folder / name)
    patch.undo()
    return folder


@pytest.fixture
def run(runs, tmp_path):
    def copy(name):
        return shutil.copytree(runs / name, tmp_path / name)

    return copy


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def results(directory):
    """All files but the model card, made of the others, and the count of looks at the test set, more after a second try."""
    files = {path.name: content for path, content in contents(directory).items() if path.name != "README.md"}
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest.pop("test_set_reads") >= 1
    return files, manifest


@pytest.mark.slow
def test_finetune_keeps_pruned_weights_zero_bit_for_bit(run):
    directory = run("masks")
    done = ep.finetune(directory, epochs=2, lr=0.05)
    before, after = ep.load(directory), ep.load(directory / "finetuned")
    plan = MaskPlan.from_bytes((directory / "finetuned" / "masks.safetensors").read_bytes())
    assert plan == MaskPlan.from_bytes((directory / "artifact" / "masks.safetensors").read_bytes())
    trained = dict(after.named_parameters())
    for name, mask in plan.masks.items():
        pruned = trained[name].detach()[torch.from_numpy(~mask.bools)]
        assert pruned.numel() > 0
        assert bool((pruned.view(torch.int32) == 0).all())
    assert not torch.equal(before.conv1.weight, after.conv1.weight)
    assert torch.equal(done.model.conv1.weight, after.conv1.weight)


def test_finetune_leaves_the_run_as_it_was_and_counts_for_itself(run):
    directory = run("masks")
    before = contents(directory)
    ep.finetune(directory, epochs=0.5, out=directory / "longer")
    after = contents(directory)
    assert {path: after[path] for path in before} == before
    manifest = json.loads((directory / "longer" / "manifest.json").read_text())
    assert (manifest["test_set_reads"], manifest["status"]) == (1, "done")


def test_finetune_compares_with_the_model_before(run):
    directory = run("masks")
    done = ep.finetune(directory, epochs=1)
    document = json.loads((directory / "finetuned" / "comparison.json").read_text())
    whole = json.loads((directory / "comparison.json").read_text())
    assert document == done.comparison
    assert (document["baseline"], document["pruned"]) == (whole["baseline"], whole["pruned"])
    assert document["layers"] == whole["layers"]
    for name in ("sparsity", "nonzero_params", "params", "macs"):
        assert document["finetuned"][name] == whole["pruned"][name]
    assert document["finetuned"]["size_bytes"] == (directory / "finetuned" / "model.safetensors").stat().st_size
    assert "finetuned" in done.table()


def test_finetune_judges_the_model_that_it_saves(run):
    directory = run("masks")
    done = ep.finetune(directory, epochs=1)
    task = tiny_recipe()[1]
    inputs, targets = next(iter(task.test.batches(128, device=torch.device("cpu"))))
    with torch.no_grad():
        accuracy = float((done.model(inputs).argmax(1) == targets).float().mean())
    assert done.comparison["finetuned"]["accuracy"] == pytest.approx(accuracy)


def test_finetune_trains_channel_models_too(run):
    directory = run("channels")
    done = ep.finetune(directory, epochs=1)
    before, after = ep.load(directory), ep.load(directory / "finetuned")
    assert after.conv1.weight.shape == before.conv1.weight.shape
    assert not torch.equal(after.conv1.weight, before.conv1.weight)
    assert "layers" not in done.comparison
    assert done.comparison["finetuned"]["params"] == done.comparison["pruned"]["params"]


def test_finetune_gives_the_same_twice(run):
    directory = run("masks")
    ep.finetune(directory, epochs=0.5, out=directory / "one")
    ep.finetune(directory, epochs=0.5, out=directory / "two")
    assert contents(directory / "one") == contents(directory / "two")


def test_finetune_refuses_to_overwrite(run):
    directory = run("masks")
    ep.finetune(directory, epochs=0)
    before = contents(directory)
    with pytest.raises(UsageError, match="is not empty"):
        ep.finetune(directory, epochs=0)
    assert contents(directory) == before


def test_finetune_refuses_the_directory_of_a_run(run):
    directory, other = run("masks"), run("channels")
    before = contents(other)
    with pytest.raises(UsageError, match="is not empty: it holds a run"):
        ep.finetune(directory, out=other)
    (other / "manifest.json").unlink()
    with pytest.raises(UsageError, match="is not empty and not a run"):
        ep.finetune(directory, out=other)
    assert contents(other).items() <= before.items()


def test_finetune_is_refused_where_another_process_is_at_work(run, monkeypatch):
    directory, taken = run("masks"), []

    def take_twice(out, identity):
        taken.append(Claim(out, identity))
        return Claim(out, identity)

    monkeypatch.setattr("evoprune.run.addition.Claim", take_twice)
    with pytest.raises(UsageError, match=r"another process is at work in .*finetuned"):
        ep.finetune(directory)
    taken[0].release()
    monkeypatch.undo()
    assert ep.finetune(directory).comparison["finetuned"]


@pytest.fixture
def killed_in_the_middle(run):
    """A run, and where a fine-tuning for one epoch was killed after it had begun to read the test set."""
    directory = run("masks")
    ep.finetune(directory, epochs=1)
    manifest = json.loads((directory / "finetuned" / "manifest.json").read_text())
    (directory / "finetuned" / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (directory / "finetuned" / "comparison.json").unlink()
    (directory / "finetuned" / ".comparison.json.a1b2c3d4.part").touch()
    return directory


def test_finetune_begins_again_where_a_process_died_and_counts_both_looks_at_the_test_set(killed_in_the_middle):
    directory = killed_in_the_middle
    ep.finetune(directory, epochs=1)
    manifest = json.loads((directory / "finetuned" / "manifest.json").read_text())
    assert (manifest["status"], manifest["test_set_reads"]) == ("done", 2)
    assert left_over(directory / "finetuned") == []


def test_finetune_names_what_differs_from_what_a_dead_process_began(killed_in_the_middle):
    before = contents(killed_in_the_middle)
    with pytest.raises(ReplayMismatchError, match=r"training\.retrain_epochs: 1\.0 there, 2\.0 here"):
        ep.finetune(killed_in_the_middle, epochs=2)
    assert contents(killed_in_the_middle) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["masks", "channels"])
def test_finetune_says_so_when_the_disk_is_full_and_ends_well_when_there_is_room(run, kind):
    directory = run(kind)
    ep.finetune(directory, out=directory / "whole")
    whole = results(directory / "whole")
    for room in range(6):
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, room)
            with pytest.raises(RunError, match=r"can't write to .*: No space left on device; make room"):
                ep.finetune(directory)
        assert left_over(directory) == []
    ep.finetune(directory)
    assert results(directory / "finetuned") == whole


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks for the names of open files in /proc")
def test_finetune_that_dies_at_any_of_its_writes_ends_well_at_the_second_try(run, tmp_path):
    directory = run("masks")
    folder = tmp_path / "tries"
    folder.mkdir()
    arguments = [folder, "all", directory / "config.yaml", directory]
    subprocess.run([sys.executable, "-m", "tests.run.dying_runs", *arguments], check=True)
    steps, whole = json.loads((folder / "steps.json").read_text()), results(folder / "whole" / "run")
    for place in sorted(folder.glob("killed-*")):
        moment = steps[int(place.name.removeprefix("killed-"))]
        ep.finetune(directory, out=place / "run")
        assert results(place / "run") == whole, moment
        assert left_over(place / "run") == [], moment


def test_finetune_refuses_what_is_no_finished_run(run, tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        ep.finetune(tmp_path)
    directory = run("masks")
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(UsageError, match="is not over") as caught:
        ep.finetune(directory)
    assert "evoprune resume" in caught.value.hint


def test_finetune_refuses_settings_of_no_effect(run):
    with pytest.raises(ConfigError, match="ga: of no effect"):
        ep.finetune(run("masks"), config={"ga": {"pop_size": 8}})


def test_finetune_refuses_other_data(run):
    model, _, inputs = tiny_recipe()
    with pytest.raises(UsageError, match="data is not what the run"):
        ep.finetune(run("masks"), model=model, task=tiny_recipe(seed=1)[1], example_inputs=inputs)


def test_finetune_says_so_when_it_diverges(run):
    directory = run("masks")
    settings = {"training": {"retrain_optimizer": "sgd"}}
    with pytest.raises(ConfigError, match=r"not finite.*retrain_lr") as caught:
        ep.finetune(directory, epochs=10, lr=1e12, config=settings)
    assert caught.value.hint == "lower lr="
    assert not list((directory / "finetuned").iterdir())


@pytest.mark.slow
def test_finetune_takes_the_problem_of_a_run_that_was_started_from_python(tmp_path, seeded_torch):
    task, inputs = tiny_recipe()[1:]
    wide = TinyCNN(width=10)
    ep.evolve(wide, task, inputs, config=MASKS, out=tmp_path / "mine")
    with pytest.raises(UsageError, match="started from Python"):
        ep.finetune(tmp_path / "mine")
    done = ep.finetune(tmp_path / "mine", epochs=1, model=wide, task=task, example_inputs=inputs)
    assert done.model.conv1.weight.shape == wide.conv1.weight.shape
