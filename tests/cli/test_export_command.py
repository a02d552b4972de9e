import json
import re

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


def test_onnx_of_a_run_is_checked_on_real_samples_and_compared_in_size(evoprune, finished, onnx_installed):
    done = evoprune("export", finished, "--to", "onnx")
    assert (done.code, done.err) == (0, "")
    out = " ".join(done.out.split())
    assert re.search(r"model\.onnx: [\d.]+ kB, \d+% of the dense network's [\d.]+ kB", out)
    assert re.search(r"its outputs differ by \S+ of the largest at most, on 64 real samples; accepted are 1e-04", out)
    import onnxruntime

    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(str(finished / "exported/model.onnx"))
    (found,) = session.run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(found), ep.load(finished)(images), atol=1e-5)


def test_point_is_exported_once_it_is_finished(evoprune, finished, tmp_path):
    front = json.loads((finished / "comparison.json").read_text())["front"]
    number = front[0]["index"]
    refused = evoprune("export", finished, "--to", "safetensors", "--point", number)
    assert refused.code == 2
    assert f"point {number} of {finished} is not finished" in refused.err
    assert f"evoprune finish {finished} --point {number}" in refused.err
    missing = evoprune("export", finished, "--to", "safetensors", "--point", 987)
    assert missing.code == 2
    assert "has no point 987: it has" in missing.err
    assert evoprune("finish", finished, "--point", number, "--epochs", 0).code == 0
    done = evoprune("export", finished, "--to", "safetensors", "--point", number)
    assert (done.code, done.err) == (0, "")
    assert (finished / f"points/{number}/exported/model.safetensors").is_file()


@pytest.mark.slow
def test_export_of_a_run_from_python_writes_weights_without_inputs(evoprune, tmp_path):
    quick = {"ga": {"pop_size": 2, "num_generations": 1}, "training": {"retrain_epochs": 0, "finetune_steps": 1}}
    config = {**quick, "ga": {**quick["ga"], "elitism": 1}, "execution": {"training_threads": 1, "isolation": "none"}}
    ep.evolve(*tiny_recipe(), config=config, out=tmp_path / "run", progress=False)
    done = evoprune("export", tmp_path / "run", "--to", "safetensors", "--out", tmp_path / "weights.safetensors")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "weights.safetensors").stat().st_size > 0
    made = evoprune("export", tmp_path / "run", "--to", "torchscript")
    assert (made.code, made.err) == (0, "")
    assert "on the example inputs" in made.out
    card = tmp_path / "run/artifact/model.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "inputs": [{"name": "images", "shape": "x"}]}))
    refused = evoprune("export", tmp_path / "run", "--to", "torchscript", "--out", tmp_path / "other.pt")
    assert refused.code == 2
    assert "needs example_inputs" in refused.err


def test_export_of_what_is_no_finished_run_is_refused(evoprune, tmp_path):
    done = evoprune("export", tmp_path, "--to", "safetensors")
    assert done.code == 2
    assert "holds no finished run" in done.err
