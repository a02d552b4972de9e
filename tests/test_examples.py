import importlib.util
import shutil
from pathlib import Path

import pytest

from evoprune.config.schema import make_config
from evoprune.config.yaml_files import read_config
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import TinyCNN, tiny_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"
CONFIGS = sorted((EXAMPLES / "configs").glob("*.yaml"))


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Import a copy of an example's script, in a directory of its own."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def load(name):
        path = Path(shutil.copy(EXAMPLES / f"{name}.py", tmp_path))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


class WideCNN(TinyCNN):
    """Has widths that can be rounded to multiples of 8."""

    def __init__(self):
        super().__init__(width=32)


def wide_tiny_recipe(*, seed=0):
    _, task, example_inputs = tiny_recipe(seed=seed)
    with isolated_rng(seed):
        return WideCNN(), task, example_inputs


@pytest.mark.slow
def test_run_pruning_does_everything_and_leaves_its_figure_beside_it(script, tmp_path, monkeypatch, capsys):
    example = script("run_pruning")
    monkeypatch.setattr(example, "mnist_cnn", wide_tiny_recipe)
    monkeypatch.setattr(example.Config.TRAINING, "EPOCHS", 1)
    monkeypatch.setattr(example.Config.TRAINING, "RETRAIN_EPOCHS", 1)
    monkeypatch.setattr(example.Config.GA, "POP_SIZE", 4)
    monkeypatch.setattr(example.Config.GA, "NUM_GENERATIONS", 2)
    example.main()
    assert (tmp_path / "ga_fitness_evolution.png").read_bytes().startswith(b"\x89PNG")
    assert "test accuracy" in capsys.readouterr().out


def test_run_pruning_has_the_knobs_of_the_configuration(script):
    example = script("run_pruning")
    knobs = {
        "TRAINING": ["BATCH_SIZE", "RETRAIN_EPOCHS"],
        "GA": ["POP_SIZE", "NUM_GENERATIONS", "MUTATION_RATE"],
        "FITNESS": ["W_ACC", "W_LOSS", "W_MACS"],
        "SEARCH": ["CONSTRAINTS", "ROUND_TO", "SHARE"],
    }
    chosen = {
        section.lower(): {name.lower(): getattr(getattr(example.Config, section), name) for name in names}
        for section, names in knobs.items()
    }
    config = make_config(chosen)
    assert config.ga.pop_size == example.Config.GA.POP_SIZE
    assert config.search.share == example.Config.SEARCH.SHARE


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_valid_and_begins_with_its_command(path):
    assert make_config(read_config(path)).recipe is not None
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# evoprune run ")
    assert path.name in first
