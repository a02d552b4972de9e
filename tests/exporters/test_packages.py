"""Networks of packages, pruned by half, through ONNX Runtime: where timm, transformers and ultralytics are installed."""

import contextlib
import os

import pytest
import torch

import evoprune as ep

with contextlib.suppress(ImportError):
    import torchvision_without_ops  # noqa: F401 - lets torchvision be imported beside a torch that it wasn't built for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("seeded_torch", "onnx_installed", "own_environment")]


@pytest.fixture
def own_environment(monkeypatch, tmp_path):
    """Packages set variables and write settings when they are imported."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def package(name):
    try:
        return pytest.importorskip(name, reason=f"install {name}")
    except RuntimeError as error:  # a torchvision that was built for another torch
        pytest.skip(f"{name} can't be imported: {error}")


def timm_network(name, **options):
    return package("timm").create_model(name, **options), torch.zeros(1, 3, 64, 64)


def hf_vit():
    models = package("transformers")
    config = models.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8
    )
    return models.ViTForImageClassification(config), {"pixel_values": torch.zeros(1, 3, 32, 32)}


def hf_bert():
    models = package("transformers")
    config = models.BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=100
    )
    inputs = {"input_ids": torch.arange(8)[None] + 1, "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    return models.BertForSequenceClassification(config), inputs


def yolo():
    tasks = package("ultralytics.nn.tasks")
    return tasks.DetectionModel("yolov8n.yaml", verbose=False), torch.zeros(1, 3, 64, 64)


NETWORKS = {
    "timm resnet18": lambda: timm_network("resnet18"),
    "timm vit_tiny": lambda: timm_network("vit_tiny_patch16_224", img_size=64),
    "transformers ViT": hf_vit,
    "transformers BERT": hf_bert,
    "ultralytics YOLOv8n": yolo,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_pruned_network_is_written_smaller_for_any_number_of_samples(tmp_path, name, to, capfd):
    model, example = NETWORKS[name]()
    model.eval()
    small = ep.prune(model, ep.analyze(model, example).random_plan(keep=0.5, seed=0)).eval()
    capfd.readouterr()
    exported = ep.export(small, to, tmp_path, example, real_inputs=real_like(example), dense=model)
    assert exported.fixed_batch is None
    assert exported.real_samples == 3
    assert exported.size_bytes < 0.6 * exported.dense_bytes
    assert capfd.readouterr().out == ""  # transformers logs a line of its own


def real_like(example):
    """Three samples of noise of the same kind."""
    if isinstance(example, dict):
        return {name: real_like(value) for name, value in example.items()}
    if example.is_floating_point():
        return torch.randn(3, *example.shape[1:])
    return torch.cat([example] * 3)
