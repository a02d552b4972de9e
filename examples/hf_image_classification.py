"""A vision transformer of transformers, from its configuration.

pip install transformers
python examples/hf_image_classification.py
"""

import torch
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTForImageClassification

import evoprune as ep

SETTINGS = {"training": {"epochs": 10, "lr": 0.002, "retrain_epochs": 10, "retrain_lr": 0.002}}


def images(samples, seed):
    """Batches of dicts, as an image processor gives them; the class is the quarter that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (samples,), generator=generator)
    pixels = 0.5 * torch.randn(samples, 3, 16, 16, generator=generator)
    for row, label in enumerate(labels.tolist()):
        top, left = 8 * (label // 2), 8 * (label % 2)
        pixels[row, :, top : top + 8, left : left + 8] += 0.7
    return [{"pixel_values": one, "labels": label} for one, label in zip(pixels, labels, strict=True)]


def own_loss(outputs, batch):
    return outputs.loss


def recipe(*, seed=0):
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        num_labels=4,
    )
    sets = [
        DataLoader(images(samples, 3 * seed + part), batch_size=64, shuffle=part == 0)
        for part, samples in enumerate((600, 200, 300))
    ]
    task = ep.Task(*sets, loss=own_loss, outputs="logits")
    return ViTForImageClassification(config), task, {"pixel_values": torch.zeros(1, 3, 16, 16)}


def main(out="runs/hf-image", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.6", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
