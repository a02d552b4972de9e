"""Models of other packages, where those are installed: what is prunable is pruned right."""

import importlib

import pytest
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.verify import verify
from evoprune.rng import isolated_rng
from tests.channels.nets import randomise

pytestmark = pytest.mark.slow

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
IDS = {"input_ids": torch.arange(18).reshape(2, 9)}
TRANSFORMERS = {
    "ViTForImageClassification": (
        {"image_size": 32, "patch_size": 8, **SMALL},
        {},
        {"embeddings", "key", "intermediate"},
    ),
    "BertForSequenceClassification": ({"vocab_size": 50, **SMALL}, IDS, {"embeddings", "query", "intermediate"}),
    "GPT2LMHeadModel": (
        {"vocab_size": 50, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 4},
        {**IDS, "use_cache": False},
        {"wte", "c_attn", "c_fc"},
    ),
    "LlamaForCausalLM": (
        {"vocab_size": 50, "num_key_value_heads": 2, **SMALL},
        {**IDS, "use_cache": False},
        {"embed_tokens", "q_proj", "gate_proj"},
    ),
    "ResNetForImageClassification": (
        {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [1, 1]},
        {},
        {"embedder"},
    ),
    "ConvNextForImageClassification": ({"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}, {}, {"pwconv1"}),
}
TORCHVISION = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "googlenet",
    "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "vgg11_bn", "vit_b_32", "swin_t",
)  # fmt: skip
TIMM = (
    "resnet18",
    "mobilenetv3_small_050",
    "vit_tiny_patch16_224",
    "mixer_s32_224",
    "convnext_atto",
    "resnext26ts",
    "efficientnet_lite0",
)


def check(model, inputs):
    """The names of the groups, after two cuts have been compared."""
    space = analyze(model, inputs)
    assert space.groups
    for keep in (0.4, 0.7):
        verify(model, space.random_plan(keep, seed=0), inputs)
    return [group.name for group in space.groups]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_hugging_face_models(name):
    transformers = pytest.importorskip("transformers", reason="install transformers")
    options, inputs, expected = TRANSFORMERS[name]
    kind = getattr(transformers, name)
    with isolated_rng(0):
        model = randomise(kind(kind.config_class(**options)))
        inputs = inputs or {"pixel_values": torch.randn(2, 3, 32, 32)}
    found = check(model, inputs)
    assert all(any(part in group for group in found) for part in expected), found


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_models(name):
    models = pytest.importorskip("torchvision.models", reason="install torchvision")
    with isolated_rng(0):
        model = models.get_model(name, weights=None).eval()
        check(model, torch.randn(1, 3, 224, 224))


@pytest.mark.parametrize("name", TIMM)
def test_timm_models(name):
    if importlib.util.find_spec("timm") is None or importlib.util.find_spec("torchvision") is None:
        pytest.skip("install timm and torchvision")
    with isolated_rng(0):
        model = importlib.import_module("timm").create_model(name, pretrained=False).eval()
        check(model, torch.randn(1, 3, 224, 224))
