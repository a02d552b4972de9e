import pytest
import torch

import evoprune as ep
from evoprune.testing.tiny import SIDE, tiny_recipe


@pytest.mark.slow
def test_export_writes_the_finished_model_and_says_how_it_was_checked(evoprune, finished):
    done = evoprune("export", finished, "--to", "torch-export")
    assert done.code == 0
    assert "model.pt2" in done.out
    assert "its outputs differ by" in done.out
    images = torch.ones(3, 3, SIDE, SIDE)
    program = torch.export.load(finished / "exported/model.pt2").module()
    assert torch.allclose(program(images), ep.load(finished)(images), atol=1e-6)


@pytest.mark.slow
def test_export_of_a_run_from_python_writes_weights_without_inputs(evoprune, tmp_path):
    quick = {"ga": {"pop_size": 2, "num_generations": 1}, "training": {"retrain_epochs": 0, "finetune_steps": 1}}
    config = {**quick, "ga": {**quick["ga"], "elitism": 1}, "execution": {"training_threads": 1, "isolation": "none"}}
    ep.evolve(*tiny_recipe(), config=config, out=tmp_path / "run")
    done = evoprune("export", tmp_path / "run", "--to", "safetensors", "--out", tmp_path / "weights.safetensors")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "weights.safetensors").stat().st_size > 0
    refused = evoprune("export", tmp_path / "run", "--to", "torch-export")
    assert refused.code == 2
    assert "needs example_inputs" in refused.err


def test_export_of_what_is_no_finished_run_is_refused(evoprune, tmp_path):
    done = evoprune("export", tmp_path, "--to", "safetensors")
    assert done.code == 2
    assert "holds no finished run" in done.err
