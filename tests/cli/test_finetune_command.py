import json
import time

import pytest

from tests.cli.conftest import start

TINY = "evoprune.testing.tiny:tiny_recipe"


@pytest.fixture
def masked(evoprune, tmp_path):
    """The directory of a finished mask run, and what the command wrote."""
    settings = [
        "search.encoding=keep-ratios",
        "masks.goals=[0.8]",
        "ga.pop_size=4",
        "ga.num_generations=2",
        "training.epochs=1",
        "training.retrain_epochs=1",
        "training.batch_size=64",
        "execution.training_threads=1",
        "execution.isolation=none",
    ]
    flags = [part for setting in settings for part in ("--set", setting)]
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "masked", *flags)
    assert done.code == 0, done.err
    return tmp_path / "masked", done


@pytest.mark.slow
def test_run_shows_sparsity_and_a_table_of_layers(masked):
    directory, done = masked
    assert "sparsity of weights" in done.out
    assert "weights by layer" in done.out
    assert "the sparse model in artifact/" in done.out
    assert {path.name for path in directory.glob("*.png")} == {
        "ga_fitness_evolution.png",
        "layer_evolution.png",
        "sparsity_and_accuracy.png",
        "sparsity_per_layer.png",
    }


@pytest.mark.slow
def test_finetune_shows_what_it_changed_and_where_it_is(evoprune, masked):
    directory, _ = masked
    done = evoprune("finetune", directory, "--epochs", 0.5, "--lr", 0.01, "--set", "training.weight_decay=0")
    assert (done.code, done.err) == (0, "")
    assert "pruned against fine-tuned" in done.out
    assert f"the fine-tuned model is in {directory / 'finetuned'}" in done.out
    manifest = json.loads((directory / "finetuned" / "manifest.json").read_text())
    training = manifest["identity"]["training"]
    assert (training["retrain_epochs"], training["retrain_lr"], training["weight_decay"]) == (0.5, 0.01, 0)


@pytest.mark.slow
def test_finetune_refuses_a_second_time_unless_another_directory_is_named(evoprune, masked):
    directory, _ = masked
    assert evoprune("finetune", directory, "--epochs", 0).code == 0
    again = evoprune("finetune", directory, "--epochs", 0)
    assert (again.code, "choose another --out" in again.err) == (2, True)
    assert evoprune("finetune", directory, "--epochs", 0, "--out", directory / "more").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "is not a run directory"),
        (["--set", "ga.pop_size=3"], "is not a run directory"),
    ],
)
def test_finetune_exits_with_two_without_a_run(evoprune, tmp_path, arguments, message):
    done = evoprune("finetune", tmp_path, *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_finetune_exits_with_two_for_settings_that_are_wrong_or_idle(evoprune, masked):
    directory, _ = masked
    assert "of no effect on fine-tuning" in evoprune("finetune", directory, "--set", "ga.pop_size=3").err
    wrong = evoprune("finetune", directory, "--lr", -1)
    assert (wrong.code, "training.retrain_lr" in wrong.err) == (2, True)
    assert not (directory / "finetuned").exists()


@pytest.mark.slow
def test_finetune_stopped_by_a_signal_leaves_nothing_and_begins_again(evoprune, masked):
    directory, _ = masked
    process = start("finetune", directory, "--epochs", 100_000)
    patience = time.monotonic() + 60
    while not (directory / "finetuned" / "manifest.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.01)
    refused = evoprune("finetune", directory, "--epochs", 100_000)
    assert (refused.code, "another process is at work" in refused.err) == (2, True)
    process.terminate()
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (1, "stopped; the same command begins again\n")
    assert list((directory / "finetuned").iterdir()) == []
    assert evoprune("finetune", directory, "--epochs", 0).code == 0
