"""What a user can get wrong: each is said before there is any work, and leaves no trace."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from evoprune.errors import UsageError
from evoprune.events import Decision
from evoprune.rng import isolated_rng
from evoprune.run import baseline
from evoprune.store.artifact import read_artifact_plan
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.mask_directories import comparison, journal, live, steps


@pytest.fixture
def no_training(monkeypatch):
    """No baseline is trained."""

    def refuse(*_, **__):
        raise AssertionError("the baseline was trained before the settings were checked")

    monkeypatch.setattr(baseline, "train_baseline", refuse)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"masks": {"goals": [0.5, 1.2]}}, r"masks.goals: .*less than 1.*given: 1.2"),
        ({"masks": {"goals": [0.0]}}, r"masks.goals: .*greater than 0"),
        ({"masks": {"goals": [0.5, 0.5]}}, "masks.goals: must be one or more sparsities .*each above the one before"),
        ({"masks": {"goals": [0.9, 0.5]}}, "masks.goals: must be one or more sparsities .*each above the one before"),
        ({"masks": {"goals": []}}, "masks.goals: must be one or more sparsities"),
        ({"masks": {"layers": []}}, r"masks.layers: .*at least 1 item"),
        ({"masks": {"goals": None}, "search": {"encoding": "keep-ratios"}}, "keep-ratios needs masks.goals"),
        (
            {"search": {"encoding": "threshold-exceptions", "seeding": "none"}},
            "threshold-exceptions needs the importance orders .*use weight-bits",
        ),
        ({"masks": {"criteria": ["magnitud"]}}, "masks.criteria: must be one or more of magnitude, lamp, fisher"),
        ({"masks": {"structure": "3:2"}}, "masks.structure: .*3:2"),
        ({"masks": {"structure": "stripes"}}, "masks.structure: .*stripes.*unstructured"),
        ({"masks": {"mode": "all"}}, "masks.mode: .*'whole', 'layers', 'independent' or 'population'"),
        ({"masks": {"live_outputs": True}}, "masks.live_outputs: .*'all', 'last' or 'none'"),
        ({"masks": {"min_class_accuracy": 50}}, "masks.min_class_accuracy: .*less than or equal to 1"),
        ({"masks": {"goal": 0.5}}, "masks.goal is not a setting; masks has: mode, layers, goals"),
        ({"search": {"preset": "referenc"}}, "search.preset: .*'reference'"),
        (
            {"search": {"encoding": "weightbits"}},
            "'weightbits' is not one of the encodings: weight-bits, channel-bits, ",
        ),
        ({"search": {"objectives": ["los", "sparsity"]}}, "'los' is no measure of weight masks; those are loss, "),
        ({"search": {"constraints": ["macs<=0.5"]}}, "'macs' is no measure of weight masks; those are accuracy, loss"),
        ({"search": {"constraints": ["accuracy=1"]}}, "search.constraints: .*accuracy=1"),
        (
            {"search": {"preset": "reference", "encoding": "channel-bits"}},
            "search.preset reference is for weight masks",
        ),
    ],
    ids=str,
)
def test_setting_is_refused_before_there_is_a_directory(mask_run, tmp_path, sections, message):
    with pytest.raises(UsageError, match=message):
        mask_run(**sections)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("masks", "message", "hint"),
    [
        ({"layers": ["conv3"]}, "there is no layer 'conv3'", "layers with weights: conv[12], conv[12], fc"),
        ({"layers": ["f"]}, "there is no layer 'f'", "layers with weights: fc, "),
        ({"layers": ["bn1"]}, r"layer 'bn1' \(BatchNorm2d\) has no weights of its own to mask", "layers with weights"),
        ({"goals": [0.5, 0.99]}, "a sparsity of 0.99 can't be met: 9 weights are too few", "a lower sparsity goal"),
        ({"structure": "2:4", "goals": [0.2]}, "a sparsity of 0.2 can't be met: .* as 2:4 allows", "sparsity goals"),
        (
            {"norm_scales": True, "structure": "rows", "goals": None},
            r"structure rows needs weights of two dimensions or more, not of shape \[8\]",
            "unstructured for scales",
        ),
        ({"warm_start": "nowhere"}, "masks.warm_start .*nowhere does not exist", "accepted: a run directory, a dir"),
    ],
    ids=str,
)
def test_setting_that_does_not_fit_the_network_is_refused_before_any_work(
    mask_run, tmp_path, no_training, masks, message, hint
):
    with pytest.raises(UsageError, match=message) as caught:
        mask_run(masks=masks)
    assert re.search(hint, caught.value.hint)
    assert list((tmp_path / "run").iterdir()) == []


def refused_warm_start(mask_run, tmp_path, path, **sections):
    with pytest.raises(UsageError) as caught:
        mask_run(masks={"warm_start": str(path)}, **sections)
    assert list((tmp_path / "run").iterdir()) == []
    return f"{caught.value.message} ({caught.value.hint})"


def test_masks_of_the_wrong_shape_are_refused_before_any_work(mask_run, tmp_path, no_training):
    path = tmp_path / "masks.npz"
    np.savez(path, conv1=np.ones((8, 3, 5, 5)))
    assert "the mask of 'conv1.weight' has shape [8, 3, 5, 5], the model's is [8, 3, 3, 3]" in refused_warm_start(
        mask_run, tmp_path, path
    )


@pytest.mark.slow
def test_masks_of_another_network_are_refused_before_any_work(mask_run, tmp_path, seeded_torch):
    other = mask_run("other", source=live(model=TinyCNN(width=6)), ga={"num_generations": 1})
    assert "made for another structure" in refused_warm_start(mask_run, tmp_path, other)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"evoprune", None], ids=str)
def test_damaged_masks_are_refused_before_any_work(mask_run, tmp_path, content):
    other = mask_run("other", ga={"num_generations": 1}, masks={"goals": [0.5]})
    path = other / "solutions" / "conv2.safetensors"
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    message = refused_warm_start(mask_run, tmp_path, other)
    assert message.startswith("masks.warm_start: can't read the masks in")
    assert "conv2.safetensors" in message


def test_masks_of_no_layer_that_is_searched_are_refused(mask_run, tmp_path):
    other = mask_run("other", ga={"num_generations": 1}, masks={"goals": [0.5], "layers": ["conv1"]})
    with pytest.raises(UsageError, match="has no masks for the layers that are to be pruned") as caught:
        mask_run(masks={"warm_start": str(other), "layers": ["fc"]})
    assert "conv1.weight" in caught.value.hint


def test_checkpoint_that_does_not_fit_is_refused(mask_run, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(UsageError, match=r"weights.safetensors are of another architecture: .* is missing"):
        mask_run(data={"checkpoint": str(path)})
    assert list((tmp_path / "run").iterdir()) == []


class Weightless(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def test_model_without_weights_is_refused(mask_run, tmp_path):
    with pytest.raises(UsageError, match="Weightless has no weights to mask"):
        mask_run(source=live(model=Weightless()), training={"epochs": 0})
    assert list((tmp_path / "run").iterdir()) == []


def test_fewer_select_samples_than_asked_are_all_of_them(mask_run):
    directory = mask_run(fidelity={"select_samples": 5000}, ga={"num_generations": 1})
    assert len(journal(directory)) == 8


def mean_metric(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def per_sample_error(outputs, targets):
    return -(outputs[:, 0] - targets).abs()


def squared_error(outputs, targets):
    return functional.mse_loss(outputs[:, 0], targets)


class Numbers:
    """The tiny images with a number for each: a regression."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def batches(self, batch_size, *, device, seed=None):
        for images, labels in self.source.batches(batch_size, device=device, seed=seed):
            yield images, labels.float() / 3

    def batch_count(self, batch_size):
        return self.source.batch_count(batch_size)

    def joined(self, other):
        return Numbers(self.source.joined(other.source))

    def head(self, size):
        return Numbers(self.source.head(size))


def regression():
    _, task, _ = tiny_recipe()
    sets = {name: Numbers(getattr(task, name)) for name in ("train", "val", "test")}
    return live(**sets, loss=squared_error, metric=per_sample_error)


@pytest.mark.parametrize("source", [regression, lambda: live(metric=mean_metric)], ids=["regression", "mean"])
def test_task_without_classes_is_masked_and_no_class_is_watched(mask_run, source):
    events = []
    directory = mask_run(source=source(), masks={"min_class_accuracy": 1.0, "goals": [0.5]}, listeners=[events.append])
    said = [event.detail for event in events if isinstance(event, Decision)]
    assert any(detail.startswith("no class is watched") for detail in said)
    assert steps(directory)[0]["worst_class_accuracy"] is None
    assert "worst_class_accuracy" not in journal(directory)[0]["objectives"]
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "search",
    [{"objectives": ["loss", "worst_class_accuracy"]}, {"constraints": ["worst_class_accuracy>=0.5"]}],
    ids=str,
)
def test_worst_class_is_refused_as_a_measure_where_there_are_no_classes(mask_run, search):
    with pytest.raises(UsageError, match="'worst_class_accuracy' can't be measured on this task") as caught:
        mask_run(source=regression(), search=search)
    assert caught.value.hint == "its measures are accuracy, loss, sparsity, layer_sparsity"


def test_imported_masks_fit_whatever_wrote_them(mask_run, tmp_path):
    other = mask_run("other", ga={"num_generations": 1}, masks={"goals": [0.5]})
    plan = read_artifact_plan(other / "artifact")
    path = tmp_path / "masks.pth"
    torch.save({f"module.{name}_mask": torch.from_numpy(mask.bools) for name, mask in plan.masks.items()}, path)
    directory = mask_run(masks={"warm_start": str(path), "goals": [0.5]}, ga={"num_generations": 1})
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.5)


@pytest.mark.parametrize("seeding", ["criteria", "none"])
def test_network_with_weights_that_are_not_numbers_is_refused(mask_run, seeding):
    with isolated_rng(0):
        model = TinyCNN()
    with torch.no_grad():
        model.conv1.weight[0] = float("nan")
    with pytest.raises(UsageError, match="the loss is nan on a batch of the train set"):
        mask_run(source=live(model=model), training={"epochs": 0}, search={"seeding": seeding})
