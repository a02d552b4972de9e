"""What a person sees who types a name and Enter: never more than a screen, and HTML where there is a notebook."""

import numpy as np
import pytest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.html_tables import html_table
from evoprune.mask_plan import MaskPlan, PackedMask
from evoprune.run.results import Point
from evoprune.testing.tiny import TinyCNN, tiny_recipe

LINES, COLUMNS = 24, 120


class Deep(nn.Sequential):
    """Many layers, whose groups don't fit on a screen."""

    def __init__(self):
        super().__init__(*(layer for _ in range(40) for layer in (nn.Linear(16, 16), nn.ReLU())))


def fits(value):
    lines = repr(value).splitlines()
    return len(lines) <= LINES and all(len(line) <= 2 * COLUMNS for line in lines)


@pytest.fixture(scope="module")
def problem():
    return tiny_recipe()


@pytest.fixture(scope="module")
def space(problem):
    return ep.analyze(problem[0], problem[2])


def test_space_names_its_groups_and_how_many_units_each_has(space):
    assert (
        repr(space).splitlines()[0]
        == f"<pruning space: {space.size} units in {len(space.groups)} groups, 1 frozen (see frozen)>"
    )
    assert "conv1: 8 units (conv)" in repr(space)
    assert "<td" in space._repr_html_()


def test_space_of_many_groups_fits_on_a_screen(seeded_torch):
    import torch

    space = ep.analyze(Deep(), torch.zeros(1, 16))
    assert len(space.groups) > 30
    assert fits(space)
    assert repr(space).endswith(f"and {len(space.groups) - 12} more groups")


def test_group_and_its_members_say_how_large_they_are(space):
    assert repr(space.groups[0]) == "<group conv1: 8 units (conv), in 6 tensors>"
    assert repr(space.groups[0].members[0]) == "<dimension 0 of conv1.weight: 8 positions>"


def test_plan_says_the_widths_that_it_leaves(space):
    plan = space.random_plan(keep=0.5, seed=0)
    assert repr(plan).startswith(f"<pruning plan: {len(plan.kept)} tensors cut: conv1.out_channels=4")
    assert fits(plan)


def test_mask_plan_says_how_many_weights_stay():
    mask = PackedMask.from_bools(np.array([[True, False], [False, False]]))
    assert repr(MaskPlan({"fc.weight": mask}, "f")) == (
        "<mask plan: 1 tensors masked, 1 of 4 weights stay (75.00% zeros)>"
    )


def test_point_says_its_objectives_in_one_line(space):
    point = Point({"macs": 10_464.0, "loss": 1.25}, space.random_plan(keep=0.5, seed=0), TinyCNN)
    assert repr(point).startswith("<point: 10,464 MACs, loss 1.25; ")
    assert "\n" not in repr(point)
    assert "10,464" in point._repr_html_()


def test_task_says_its_sizes_and_what_it_is_judged_by(problem):
    assert repr(problem[1]) == "<task: train 512, val 64, test 128 samples; loss cross_entropy; metric accuracy>"
    assert repr(problem[1].train) == "<512 images of [3, 8, 8]>"


def test_source_of_a_loader_says_how_many_samples_it_has():
    import torch

    loader = DataLoader(TensorDataset(torch.zeros(6, 2), torch.zeros(6, dtype=torch.long)), batch_size=2)
    task = ep.Task(
        loader, [(torch.ones(4, 2), torch.zeros(4).long())], [(torch.full((3, 2), 2.0), torch.zeros(3).long())]
    )
    assert repr(task.train) == "<6 samples from DataLoader>"


def test_config_shows_what_was_set():
    assert repr(make_config({"ga": {"pop_size": 10}}).ga) == "GeneticConfig(pop_size=10)"


def test_html_table_holds_text_alone_and_says_what_it_leaves_out():
    table = html_table("<b>", ["a", "b"], [("<script>", "1")] * 50, ["a & b"])
    assert "<script>" not in table
    assert "&lt;b&gt;" in table
    assert "a &amp; b" in table
    assert "and 10 more" in table
