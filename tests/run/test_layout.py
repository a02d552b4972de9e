from dataclasses import replace

import pytest
import torch
from torch import nn

from evoprune.errors import StoreCorruptedError
from evoprune.events import Decision
from evoprune.rng import isolated_rng
from evoprune.run import layout
from evoprune.run.factories.common import training_plan, workplace_of
from evoprune.run.factories.runs import execute
from evoprune.run.layout import settle_layout
from evoprune.run.problem import LiveSource, Problem
from evoprune.testing.tiny import tiny_recipe
from tests.run.keeper import Keeper

CPU = torch.device("cpu")


class Viewing(nn.Module):
    """The commonest idiom there is, which needs a plain layout."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, images):
        features = nn.functional.max_pool2d(self.conv2(self.conv1(images).relu()).relu(), 2)
        return self.head(features.view(features.size(0), -1))


def problem(model=None):
    recipe, task, inputs = tiny_recipe()
    return Problem(recipe if model is None else model, task, inputs)


def settle(config, model=None, keeper=None):
    said = []
    workplace = replace(workplace_of(config), isolation="none")  # where a test sees what is called
    learning = training_plan(config).baseline
    settled = settle_layout(workplace, problem(model), learning, keeper or Keeper(), said.append)
    return settled.channels_last, said


def made(build):
    with isolated_rng(0):
        return build()


@pytest.fixture
def measured(monkeypatch):
    """Networks of any size are measured, with this outcome."""
    asked = []

    def start(*speed_ups):
        answers = iter(speed_ups)

        def speed_up(trial):
            asked.append(torch.get_num_threads())
            return next(answers)

        monkeypatch.setattr(layout, "SMALL", 0)
        monkeypatch.setattr(layout.Trial, "speed_up", speed_up)
        return asked

    return start


def test_auto_keeps_small_networks_plain_without_a_word(small_config):
    assert settle(small_config()) == (False, [])


def test_auto_measures_with_the_threads_of_candidates_and_of_training(small_config, measured):
    asked = measured(1.5, 1.4)
    found, said = settle(small_config({"execution": {"training_threads": 2}}))
    assert (found, asked) == (True, [1, 2])
    assert said[0].detail.startswith("channels last: channels last, a step is 1.50 times as fast with 1 and 1.40")


def test_auto_stays_plain_when_it_is_not_faster_by_a_margin(small_config, measured):
    measured(1.5, 1.1)
    found, said = settle(small_config({"execution": {"training_threads": 2}}))
    assert (found, said[0].detail[:6]) == (False, "plain:")


def test_auto_decides_again_by_the_figures_of_the_first_run(small_config, measured):
    asked = measured(1.5, 0.9)
    assert [settle(small_config())[0] for _ in range(2)] == [True, True]
    assert len(asked) == 1


def test_decision_is_kept_for_a_resume_without_figures(small_config, measured):
    measured(1.5, 0.5)
    keeper = Keeper()
    assert settle(small_config(), keeper=keeper)[0] is True
    assert keeper.manifest.to_json()["layout"] == {"channels_last": True}
    assert settle(small_config({"training": {"batch_size": 8}}), keeper=keeper) == (True, [])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wanted", ["auto", True])
def test_strided_pointwise_convolutions_are_never_trained_channels_last(small_config, wanted, threads):
    model = made(lambda: nn.Sequential(nn.Conv2d(3, 8, 1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)))
    found, said = settle(small_config({"execution": {"channels_last": wanted, "training_threads": threads}}), model)
    assert found is False
    assert isinstance(said[0], Decision)
    assert "1x1 convolution with stride 2, 3 to 8 channels" in said[0].detail


def test_true_falls_back_when_the_network_fails_with_it(small_config):
    found, said = settle(small_config({"execution": {"channels_last": True}}), made(Viewing))
    assert found is False
    assert "fails with its weights channels last: RuntimeError: view size" in said[0].detail


def test_true_and_false_are_followed_where_they_work(small_config):
    assert settle(small_config({"execution": {"channels_last": True}})) == (True, [])
    assert settle(small_config({"execution": {"channels_last": False}})) == (False, [])
    linear = made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    assert settle(small_config({"execution": {"channels_last": True}}), linear) == (False, [])


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["auto", True])
@pytest.mark.parametrize("encoding", ["channel-bits", "keep-ratios"])
def test_run_of_a_network_that_views_ends_in_any_setting(tmp_path, small_config, encoding, wanted):
    config = small_config(
        {
            "recipe": None,
            "search": {"encoding": encoding},
            "masks": {"goals": [0.5], "fisher_samples": 64, "min_class_accuracy": 0},
            "execution": {"channels_last": wanted},
        }
    )
    source = LiveSource(problem(made(Viewing)))
    found = execute(config, source, tmp_path / "run")
    assert 0 <= found.pruned.accuracy <= 1
    assert found.pruned.params <= found.baseline.params


def test_run_refuses_a_manifest_whose_layout_was_damaged(tmp_path, small_config, tiny_source):
    execute(small_config(), tiny_source, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"channels_last": false\n', '"channels_last": 3\n'))
    with pytest.raises(StoreCorruptedError, match="layout"):
        execute(small_config(), tiny_source, tmp_path / "run")
