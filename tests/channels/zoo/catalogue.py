"""Every model of the zoo by name, with inputs for it."""

import pytest
import torch
from torch import nn

from evoprune.rng import isolated_rng
from tests.channels.nets import randomise
from tests.channels.zoo import convnets, gallery, mobile, tokens


def images(size):
    return torch.randn(2, 3, size, size)


def ids():
    return torch.randint(0, 11, (2, 7))


MODELS = {
    "vgg": (convnets.Vgg, lambda: images(16)),
    "resnet-pad": (lambda: convnets.CifarResNet(3, 4), lambda: images(16)),
    "resnet-projection": (lambda: convnets.CifarResNet(3, 4, projection=True), lambda: images(16)),
    "resnet56": (lambda: convnets.CifarResNet(9, 4), lambda: images(8)),
    "resnet-bottleneck": (convnets.bottleneck_resnet, lambda: images(8)),
    "resnext": (lambda: convnets.bottleneck_resnet(groups=4), lambda: images(8)),
    "pre-activation": (convnets.PreActivation, lambda: images(8)),
    "densenet": (convnets.DenseNet, lambda: images(8)),
    "inception": (convnets.Inception, lambda: images(8)),
    "unet": (convnets.UNet, lambda: images(8)),
    "super-resolution": (convnets.SuperResolution, lambda: images(6)),
    "two-tower": (convnets.TwoTower, lambda: {"image": images(8), "table": torch.randn(2, 5)}),
    "detector": (convnets.Detector, lambda: images(8)),
    "mobilenet-v2": (mobile.mobilenet, lambda: images(16)),
    "mobilenet-v3": (lambda: mobile.mobilenet(excite=True), lambda: images(16)),
    "shufflenet-v2": (mobile.shufflenet, lambda: images(8)),
    "shufflenet-v1": (mobile.GroupedShuffle, lambda: images(8)),
    "convnext": (mobile.ConvNext, lambda: images(8)),
    "vit": (tokens.Vit, lambda: images(8)),
    "gpt": (tokens.Gpt, ids),
    "llama": (tokens.Llama, ids),
    "swin": (tokens.SwinLike, lambda: images(16)),
    "mixer": (tokens.Mixer, lambda: images(8)),
    "bilstm": (tokens.Tagger, ids),
    "gru": (lambda: tokens.Tagger(nn.GRU), ids),
    "encoder": (tokens.encoder, lambda: torch.randn(2, 7, 12)),
    "squeezenet": (gallery.SqueezeNet, lambda: images(8)),
    "cbam": (gallery.Cbam, lambda: images(8)),
    "cross-stage": (gallery.CrossStage, lambda: images(8)),
    "res2net": (gallery.Res2Net, lambda: images(8)),
    "ghost": (gallery.Ghost, lambda: images(8)),
    "split-attention": (gallery.SplitAttention, lambda: images(8)),
    "generator": (gallery.Generator, lambda: torch.randn(2, 6)),
    "autoencoder": (gallery.Autoencoder, lambda: torch.randn(2, 12)),
    "wavenet": (gallery.WaveNet, lambda: torch.randn(2, 1, 16)),
    "pointnet": (gallery.PointNet, lambda: torch.randn(2, 3, 10)),
    "graph": (gallery.Graph, lambda: (torch.randn(2, 7, 5), (torch.rand(2, 7, 7) > 0.5).float())),
    "translator": (gallery.Translator, lambda: (ids(), ids())),
    "conv-lstm": (gallery.ConvLstm, lambda: torch.randn(2, 3, 3, 5, 5)),
    "volume": (gallery.Volume, lambda: torch.randn(2, 1, 4, 4, 4)),
    "high-resolution": (gallery.HighResolution, lambda: images(8)),
    "skip-mlp": (gallery.SkipMlp, lambda: torch.randn(5, 3)),
    "fourier": (gallery.Fourier, lambda: torch.randn(2, 1, 8)),
    "decoder": (gallery.Decoder, lambda: (ids(), ids())),
    "low-rank": (gallery.LoRa, lambda: torch.randn(2, 12)),
}

HEAVY = {
    *("bilstm", "decoder", "densenet", "gpt", "inception", "mobilenet-v2", "resnet56", "resnet-bottleneck"),
    *("resnet-pad", "resnet-projection", "resnext", "shufflenet-v2", "swin", "unet"),
}
"""Models whose tests take a second and more, each of a kind that another one has as well."""

EACH = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in MODELS]
"""All models, for tests that run the heavy ones in the slow suite alone."""

PLAIN_CONVNETS = ("vgg", "resnet-projection", "resnet-bottleneck", "pre-activation", "densenet", "inception", "unet")


def build(name):
    """-> model with random weights and statistics in evaluation mode, example inputs."""
    make, inputs = MODELS[name]
    with isolated_rng(0):
        return randomise(make()), inputs()
