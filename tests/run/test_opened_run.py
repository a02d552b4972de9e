"""What a run finds out about its data and its network before there is any work."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from evoprune.data.task import Task
from evoprune.errors import DataError, UnsupportedModelError
from evoprune.events import Caution
from evoprune.report.summary import text_table
from evoprune.run import opened_run as opening
from evoprune.run.factories.runs import execute
from evoprune.run.opened_run import _check_layout
from evoprune.run.problem import Problem
from evoprune.store.comparison import read_comparison
from tests.run.mask_directories import comparison, live

QUICK = {"ga": {"pop_size": 3, "num_generations": 1}}


def tagging(steps=40, batch=16):
    return [(torch.zeros(steps, batch, 3), torch.zeros(steps, batch))]


def problem(batches, example, **task):
    sets = (batches() if callable(batches) else list(batches) for _ in range(3))
    return Problem(nn.Identity(), Task(*sets, **task), example)


def test_opening_refuses_samples_counted_along_another_dimension_than_the_example_inputs_say():
    with pytest.raises(DataError, match=r"\[40, 16, 3\] were counted as 40 samples.*batch_dim=1"):
        _check_layout(problem(tagging(), torch.zeros(40, 1, 3)))


@pytest.mark.parametrize(
    ("batches", "example", "task"),
    [
        (tagging(), torch.zeros(40, 1, 3), {"batch_dim": 1}),
        (tagging(16, 40), torch.zeros(1, 40, 3), {}),
        (tagging(16, 40), torch.zeros(16, 40, 3), {}),
        (tagging(16, 40), torch.zeros(16, 7, 3), {}),
        (tagging(16, 40), (torch.zeros(1, 7, 3),), {}),
        ([(torch.zeros(40, 16, 3), torch.zeros(16))], torch.zeros(40, 1, 3), {}),
        (lambda: DataLoader(TensorDataset(torch.zeros(4, 7), torch.zeros(4, 7))), torch.zeros(1, 1), {}),
    ],
)
def test_opening_takes_example_inputs_that_agree_with_the_batches_or_say_nothing(batches, example, task):
    _check_layout(problem(batches, example, **task))


class Spectral(nn.Module):
    """Reads an image through its Fourier transform, which has no formula."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3 * 8 * 5, 16), nn.Linear(16, 4)

    def forward(self, images):
        return self.fc2(self.fc1(torch.fft.rfft(images).abs().flatten(1)).relu())


@pytest.fixture
def start(tmp_path, small_config, mask_config):
    def run(kind, source):
        events = []
        config = {"channels": small_config, "masks": mask_config}[kind]({"recipe": None}, QUICK)
        execute(config, source, tmp_path / kind, (events.append,))
        return tmp_path / kind, events

    return run


@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_operations_that_macs_leave_out_are_named(start, kind, seeded_torch):
    directory, events = start(kind, live(model=Spectral()))
    said = [event.detail for event in events if isinstance(event, Caution) and event.what == "counting"]
    assert said == ["MACs leave out aten::_fft_r2c, for which there is no formula"]
    document = comparison(directory)
    assert document["uncounted"] == ["aten::_fft_r2c"]
    assert document["baseline"]["macs"] == 3 * 8 * 5 * 16 + 16 * 4
    lines = text_table(read_comparison(directory)).splitlines()
    assert "MACs leave out aten::_fft_r2c: there is no formula" in lines


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_nothing_is_said_where_everything_is_counted(start, kind):
    directory, events = start(kind, live())
    assert not [event for event in events if isinstance(event, Caution) and event.what == "counting"]
    assert "uncounted" not in comparison(directory)


@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_example_inputs_that_do_not_fit_are_refused_before_anything_is_trained(start, kind, monkeypatch):
    monkeypatch.setattr(opening, "prepare_baseline", None)
    with pytest.raises(UnsupportedModelError, match="can't run on the example inputs"):
        start(kind, live(example_inputs=torch.zeros(1, 5, 8, 8)))


def packed():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))
    return torch.ao.quantization.quantize_dynamic(layers, {nn.Linear})


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_quantised_network_is_refused_before_anything_is_trained(start, kind, monkeypatch, seeded_torch):
    monkeypatch.setattr(opening, "prepare_baseline", None)
    with pytest.raises(UnsupportedModelError, match="1 is quantised already: its weights are packed integers"):
        start(kind, live(model=packed()))


class TiedByMemory(nn.Module):
    """Two layers whose weights are the same numbers and two parameters."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(192, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.fc2.weight.data = self.fc1.weight.data[:, :16]

    def forward(self, images):
        return self.fc3(self.fc2(self.fc1(images.flatten(1)).relu()).relu())


@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_weights_that_share_memory_are_refused_before_anything_is_trained(start, kind, monkeypatch, seeded_torch):
    monkeypatch.setattr(opening, "prepare_baseline", None)
    with pytest.raises(UnsupportedModelError, match=r"fc1\.weight and fc2\.weight share memory"):
        start(kind, live(model=TiedByMemory()))
