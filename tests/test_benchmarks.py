"""The parts of the benchmarks that decide something decide it rightly."""

import copy
import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from evoprune.api import execute_run
from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.config.schema import make_config
from evoprune.run.factories.stored import recipe_source
from evoprune.testing.tiny import tiny_recipe

FOLDER = Path(__file__).parents[1] / "benchmarks/analysis"
MODULES = ("faults", "libraries", "models", "outcomes")


@pytest.fixture
def analysis(monkeypatch):
    """The benchmark's modules by name; they import each other as scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield {name: __import__(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name)


@pytest.mark.slow
def test_fault_table_finds_evoprune_right_or_refusing(analysis):
    table = analysis["faults"].fault_table([analysis["libraries"].Evoprune()])
    found = {(fault, way): outcome[0] for fault, row in table.items() for way, outcome in row["evoprune"].items()}
    assert set(found.values()) == {"right", "refused"}
    assert found["channel shuffle", "half of everything"] == "right"
    assert found["index given twice", "channels [0, 0, 3] of conv1"] == "refused"


def test_peers_that_are_missing_are_named_and_left_out(analysis, monkeypatch):
    for package in ("torch_pruning", "torch_kirigami"):
        monkeypatch.setitem(sys.modules, package, None)
    libraries, missing = analysis["libraries"].installed()
    assert [library.name for library in libraries] == ["evoprune"]
    assert all("evoprune[peers]" in missing[name] for name in ("torch-pruning", "torch-kirigami"))


@pytest.mark.parametrize("spoil", ["swap", "attribute", "shape", "raise", "nothing"])
def test_outcome_tells_wrong_networks_from_right_ones(analysis, seeded_torch, spoil):
    model = analysis["models"].randomise(analysis["models"].Plain())
    inputs = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    right = prune(model, analyze(model, inputs).random_plan(0.5, 0))

    def make():
        smaller = copy.deepcopy(model if spoil == "nothing" else right)
        if spoil == "swap":
            smaller.conv2.weight.data = smaller.conv2.weight.data.flip(1)
        elif spoil == "attribute":
            smaller.conv1.out_channels += 1
        elif spoil == "shape":
            smaller.conv2.weight.data = smaller.conv2.weight.data[:, :2]
        elif spoil == "raise":
            return {}["missing"]
        return smaller

    decide, library = analysis["outcomes"].outcome, analysis["libraries"].Evoprune()
    expected = {"swap": "silently wrong", "attribute": "silently wrong", "nothing": "refused"}.get(spoil, "crashed")
    assert decide(library, model, inputs, make)[0] == expected
    assert decide(library, model, inputs, lambda: right)[0] == "right"


MASKS = FOLDER.parent / "masks"
MASK_MODULES = ("course", "evolved", "figure", "paired", "peers", "tables")
TINY_RUN = {
    "training": {"batch_size": 64, "retrain_epochs": 0.5, "retrain_optimizer": "sgd", "retrain_lr": 0.05},
    "search": {"encoding": "keep-ratios"},
    "masks": {"goals": [0.8, 0.9, 0.95], "retrain_epochs": 1, "min_class_accuracy": 0, "live_outputs": "none"},
    "ga": {"pop_size": 4, "num_generations": 2, "elitism": 1},
    "execution": {"workers": 1, "training_threads": 1, "isolation": "none"},
}


@pytest.fixture(scope="module")
def masks():
    """The modules of the benchmark of weight masks, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MASKS))
        yield {name: __import__(name) for name in MASK_MODULES}
    for name in MASK_MODULES:
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def mask_run(tmp_path_factory):
    """A finished run of weight masks of the tiny recipe."""
    config = make_config(TINY_RUN, {"recipe": "evoprune.testing.tiny:tiny_recipe"})
    directory = tmp_path_factory.mktemp("masks") / "run"
    execute_run(config, recipe_source(config), directory, [])
    return directory


@pytest.mark.slow
def test_course_of_a_run_has_its_levels_and_every_step_it_trained(masks, mask_run):
    course = masks["evolved"].course_of(mask_run)
    weights = 8 * 3 * 9 + 8 * 8 * 9 + 32 * 4
    assert [level.kept for level in course.levels] == [round((1 - goal) * weights) for goal in (0.8, 0.9, 0.95)]
    # 512 training images are 8 batches of 64; half of an epoch with the 64 to select by is 4 or 5 of 9.
    assert ([level.steps for level in course.levels], course.final_steps) == ([8, 8, 8], round(9 / 2))
    assert (course.schedule.optimizer, course.schedule.lr, course.total_steps) == ("sgd", 0.05, 24 + round(9 / 2))


@pytest.mark.slow
def test_course_is_the_same_when_read_back(masks, mask_run, tmp_path):
    course = masks["evolved"].course_of(mask_run)
    course.write(tmp_path / "course.json")
    assert masks["course"].read_course(tmp_path / "course.json") == course


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lamp", "root-fisher", "random-once"])
def test_peer_is_as_sparse_as_each_level_says(masks, mask_run, method):
    course = masks["evolved"].course_of(mask_run)
    found = masks["peers"].run_method(course, method, 0, tiny_recipe())
    milestones = masks["course"].last_at_milestones(found["points"])
    assert {key: point["kept"] for key, point in milestones.items()} == {
        0.9: course.levels[1].kept, 0.95: course.levels[2].kept
    }  # fmt: skip
    assert found["final"]["kept"] == course.levels[2].kept
    assert found["final"]["steps"] == course.total_steps
    assert found["test_set_reads"] == sum("accuracy" in point for point in [*found["points"], found["final"]]) == 3


def test_peers_see_the_same_samples_when_their_seed_is_the_same(masks, mask_run):
    course = masks["evolved"].course_of(mask_run)
    once, again, other = (masks["peers"].run_method(course, "lamp", seed, tiny_recipe()) for seed in (0, 0, 1))
    without_time = [[point["select_accuracy"] for point in one["points"]] for one in (once, again, other)]
    assert without_time[0] == without_time[1] != without_time[2]


def test_interval_is_students(masks):
    low, high = masks["paired"].interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert masks["paired"].interval([1.0]) is None


def test_differences_are_to_the_peer_that_is_better_on_the_mean(masks):
    curves = {
        "evolved": {"0": {"0.98": 0.99, "0.99": 0.98}, "1": {"0.98": 0.97, "0.99": 0.98}},
        "lamp": {"0": {"0.98": 0.98, "0.99": 0.95}, "1": {"0.98": 0.98, "0.99": 0.95}},
        "magnitude": {"0": {"0.98": 0.90, "0.99": 0.97}, "1": {"0.98": 0.99, "0.99": 0.97}},
    }
    at_98, at_99 = masks["paired"].differences(curves)
    assert (at_98["best_peer"], at_98["differences"], at_98["held"]) == ("lamp", [1, -1], False)
    assert (at_99["best_peer"], at_99["differences"], at_99["held"]) == ("magnitude", [1, 1], True)


def test_tables_and_figure_show_every_method_that_was_run(masks, mask_run, tmp_path):
    course = masks["evolved"].course_of(mask_run)
    run = masks["evolved"].figures_of(mask_run, course)
    run["accuracy"] = {"0.9": run["points"][1]["accuracy"], "0.95": 0.5, "final": run["final"]["accuracy"]}
    peer = {"accuracy": {"0.9": 0.25, "0.95": 0.5}, "cpu_s": 3.0, "wall_s": 4.0}
    methods = {"evolved": {"0": run}, "lamp": {"0": peer}, "magnitude": {"0": peer}}
    results = {
        "date": "2026-01-01", "machine": "a machine", "threads": "1 thread", "versions": {"torch": "2"}, "command": "run",
        "course": {**dataclasses.asdict(course), "total_steps": course.total_steps}, "dense_accuracy": 0.9,
        "methods": methods, "naive": [{"threads": 1, "candidates": 10, "images": 5000, "cpu_s": 1.5}],
        "differences": masks["paired"].differences({name: {"0": runs["0"]["accuracy"]} for name, runs in methods.items()}),
    }  # fmt: skip
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{masks['tables'].START}\nold\n{masks['tables'].END}\nafter\n")
    masks["tables"].write_between_markers(readme, masks["tables"].tables(results))
    text = readme.read_text()
    assert (text[:7], text[-7:]) == ("before\n", "\nafter\n")
    assert "old" not in text
    assert "| iterative LAMP | 1 | 25.00 | 50.00 | - |" in text
    assert "| naive script, 1 thread | - | - | 10 | 5,000 | 1500 |" in text
    masks["figure"].draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
