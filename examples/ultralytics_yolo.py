"""Object detection with a YOLO of ultralytics, trained by its own loss and judged by how well its surest box fits.

    pip install ultralytics
    python examples/ultralytics_yolo.py

Made from a configuration, so that nothing is downloaded. For yours: `YOLO("yolov8n.pt").model` and `training.epochs` 0.
"""

from types import SimpleNamespace

import torch
from torch.utils.data import TensorDataset
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss

import evoprune as ep

SETTINGS = {
    "training": {"epochs": 12, "retrain_epochs": 12, "batch_size": 16, "lr": 0.002, "retrain_lr": 0.002},
    "search": {"round_to": 8},
}
SIDE, CLASSES = 64, 2


def scenes(samples, seed):
    """One bright or dark rectangle on noise; a target is (class, centre x, centre y, width, height), the last four as shares."""
    generator = torch.Generator().manual_seed(seed)
    images = (0.5 + 0.1 * torch.randn(samples, 3, SIDE, SIDE, generator=generator)).clamp(0, 1)
    targets = torch.zeros(samples, 5)
    for row in range(samples):
        label = int(torch.randint(CLASSES, (), generator=generator))
        width, height = torch.randint(16, 33, (2,), generator=generator).tolist()
        left = int(torch.randint(0, SIDE - width, (), generator=generator))
        top = int(torch.randint(0, SIDE - height, (), generator=generator))
        images[row, :, top : top + height, left : left + width] += 0.4 if label else -0.4
        centre = [(left + width / 2) / SIDE, (top + height / 2) / SIDE]
        targets[row] = torch.tensor([label, *centre, width / SIDE, height / SIDE])
    return TensorDataset(images, targets)


def predictions(outputs):
    """What is used of the outputs: in training they are a dict, in evaluation decoded boxes and that dict."""
    return outputs if isinstance(outputs, dict) else outputs[1]


def used(outputs):
    found = predictions(outputs)
    return {"boxes": found["boxes"], "scores": found["scores"]}


class DetectionLoss:
    """ultralytics' loss, which takes its targets as one list of boxes with the number of the image of each."""

    def __init__(self, model):
        self.criterion = v8DetectionLoss(model)

    def __call__(self, outputs, targets):
        batch = {"batch_idx": torch.arange(len(targets)), "cls": targets[:, :1], "bboxes": targets[:, 1:]}
        loss, _ = self.criterion(predictions(outputs), batch)
        return loss.sum() / len(targets)


def fit_of_surest_box(outputs, targets):
    """How the box that the network is surest of overlaps the true one (IoU), 0 for the wrong class: one value per image."""
    decoded = outputs[0]  # [n, 4 + classes, boxes]
    sureness, label = decoded[:, 4:].max(dim=1)
    best = sureness.argmax(dim=1)
    rows = torch.arange(len(targets))
    x, y, width, height = decoded[rows, :4, best].unbind(dim=1)
    true_x, true_y, true_width, true_height = (SIDE * targets[:, 1:]).unbind(dim=1)
    overlap = [
        (
            torch.minimum(at + size / 2, true_at + true_size / 2)
            - torch.maximum(at - size / 2, true_at - true_size / 2)
        ).clamp(0)
        for at, size, true_at, true_size in ((x, width, true_x, true_width), (y, height, true_y, true_height))
    ]
    both = overlap[0] * overlap[1]
    union = width * height + true_width * true_height - both
    return both / union * (label[rows, best] == targets[:, 0])


def recipe(*, seed=0):
    model = DetectionModel("yolov8n.yaml", nc=CLASSES, verbose=False)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)  # gains of the parts of the loss
    sets = [scenes(samples, 3 * seed + part) for part, samples in enumerate((320, 64, 96))]
    task = ep.Task(*sets, loss=DetectionLoss(model), metric=fit_of_surest_box, outputs=used)
    return model, task, torch.zeros(1, 3, SIDE, SIDE)


def main(out="runs/yolo", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.6", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
