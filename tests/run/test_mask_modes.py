import json

import numpy as np
import pytest

import evoprune as ep
from evoprune.errors import RunError
from evoprune.run.factories.runs import execute
from evoprune.store.artifact import read_artifact_plan
from evoprune.store.solutions import read_solutions
from evoprune.testing.tiny import TinyCNN
from tests.run.mask_directories import comparison, contents, events, journal, live, masks, steps

NAMES = ("conv1.weight", "conv2.weight", "fc.weight")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("forward", ["conv1", "conv2", "fc"]),
        ("backward", ["fc", "conv2", "conv1"]),
        ("largest", ["conv2", "conv1", "fc"]),
    ],
)
def test_layers_are_searched_in_the_order_asked_and_meet_the_goal_at_the_end_of_a_pass(mask_run, order, expected):
    directory = mask_run(masks={"mode": "layers", "order": order}, ga={"num_generations": 1})
    assert [step["layers"] for step in steps(directory)] == [[layer] for layer in expected] * 2
    assert [steps(directory)[index]["sparsity"] for index in (2, 5)] == pytest.approx([0.3, 0.6])
    assert [step["layers_pruned"] for step in steps(directory)] == [1, 2, 3, 3, 3, 3]


def test_only_the_searched_layer_changes_in_a_step(mask_run):
    directory = mask_run(masks={"mode": "layers", "goals": [0.5]}, ga={"num_generations": 1})
    first, second, _ = steps(directory)
    assert first["layer_sparsity"]["conv2"] == first["layer_sparsity"]["fc"] == second["layer_sparsity"]["fc"] == 0
    assert second["layer_sparsity"]["conv1"] == first["layer_sparsity"]["conv1"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "layers"),
    [("whole", ["module.conv*"]), ("layers", ["conv1", "conv2.weight"]), ("independent", ["module.conv1", "conv2"])],
)
def test_other_layers_stay_dense_and_the_goal_is_that_of_the_chosen_ones(mask_run, mode, layers):
    directory = mask_run(masks={"mode": mode, "layers": layers, "goals": [0.5]}, ga={"num_generations": 1})
    assert set(masks(directory)) == {"conv1.weight", "conv2.weight"}
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.5)
    model = ep.load(directory / "artifact")
    assert int(model.fc.weight.count_nonzero()) == model.fc.weight.numel()
    assert [row["layer"] for row in comparison(directory)["layers"]] == ["conv1", "conv2"]


@pytest.mark.slow
def test_independent_layers_are_one_line_each_with_their_history(mask_run):
    directory = mask_run(masks={"mode": "independent"}, ga={"num_generations": 3})
    lines = journal(directory)
    assert [(line["step"], line["layer"]) for line in lines] == [
        (step, layer) for step in (0, 1) for layer in ("conv1", "conv2", "fc")
    ]
    for line in lines:
        assert [row["generation"] for row in line["history"]] == [0, 1, 2]
        assert line["history"][-1]["fitness"] == line["fitness"]
        assert line["history"][-1]["sparsity"] == line["objectives"]["layer_sparsity"]
    assert [step["sparsity"] for step in steps(directory)] == pytest.approx([0.3, 0.6])


def test_independent_layers_end_with_single_bits_when_they_are_polished(mask_run):
    directory = mask_run(masks={"mode": "independent", "polish_generations": 2}, search={"encoding": "keep-ratios"})
    assert {line["encoding"] for line in journal(directory)} == {"weight-bits"}
    assert [row["generation"] for row in journal(directory)[0]["history"]] == [0, 1, 2, 3]
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.6)


class Awkward(TinyCNN):
    """Yields nan once a weight of its last layer is gone."""

    def forward(self, images):
        return super().forward(images) / (self.fc.weight != 0).all()


def test_run_stops_and_names_the_layer_whose_search_failed(mask_run, seeded_torch):
    with pytest.raises(RunError, match=r"the search of layer fc failed: all 4 candidates of generation 0 failed"):
        mask_run(source=live(model=Awkward()), training={"epochs": 0}, masks={"mode": "independent"})


def test_independent_layers_say_so_when_a_layer_keeps_no_constraint(mask_run):
    directory = mask_run(masks={"mode": "independent", "goals": [0.5]}, search={"constraints": ["loss<=0.0001"]})
    details = [line["detail"] for line in events(directory, "Decision") if line["what"] == "masks"]
    assert len(details) == 3
    assert details[0] == "no candidate of layer conv1 in step 0 keeps the constraints; the nearest one goes on"


REFERENCE = {
    "search": {"encoding": "weight-bits", "preset": "reference"},
    "masks": {"live_outputs": "none", "layers": ["conv1"]},
    "ga": {"num_generations": 30, "pop_size": 6},
    "training": {"epochs": 3},
}


@pytest.fixture
def reference_run(tmp_path, mask_config):
    """The preset on one layer of the tiny network, as a user without other settings gets it."""
    from evoprune.config.schema import make_config
    from evoprune.run.problem import RecipeSource

    def start(**sections):
        base = mask_config().model_dump(mode="json", include={"recipe": True, "execution": True})
        config = make_config(
            {"recipe": base["recipe"], "execution": {"workers": 1, "training_threads": 1, "isolation": "none"}},
            REFERENCE,
            sections,
        )
        execute(config, RecipeSource(config.recipe, None, None, 0), tmp_path / "run")
        return tmp_path / "run"

    return start


def bits_of(line):
    import base64

    packed = np.frombuffer(base64.b64decode(line["bits"]), dtype=np.uint8)
    return np.unpackbits(packed, count=line["length"]).view(bool)


def test_reference_preset_only_ever_loses_bits_one_child_at_a_time(reference_run):
    directory = reference_run()
    lines = journal(directory)
    assert [line["generation"] for line in lines[:6]] == [0] * 6
    assert [line["generation"] for line in lines[6:]] == list(range(1, 30))
    first = np.any([bits_of(line) for line in lines[:6]], axis=0)
    for line in lines[6:]:
        assert not np.any(bits_of(line) & ~first)
    assert {line["status"] for line in lines} <= {"ok", "infeasible"}
    baseline = json.loads((directory / "manifest.json").read_text())["dense"]["accuracy"]
    for line in lines:
        assert (line["status"] == "ok") == (line["objectives"]["accuracy"] >= 0.95 * baseline - 1e-9)


def test_reference_preset_weighs_sparsity_four_times_as_much_as_accuracy(reference_run):
    for line in journal(reference_run(ga={"num_generations": 2})):
        values = line["objectives"]
        assert line["fitness"] == pytest.approx(0.2 * values["accuracy"] + 0.8 * values["layer_sparsity"])


def test_reference_preset_ends_a_layer_at_the_target_sparsity(reference_run):
    directory = reference_run(masks={"target_sparsity": 0.15}, search={"constraints": []})
    assert len(journal(directory)) < 6 + 29
    assert steps(directory)[0]["sparsity"] >= 0.15


def test_target_is_not_met_by_a_candidate_that_breaks_a_constraint(mask_run):
    directory = mask_run(
        search={"constraints": ["loss<=0.0001"]},
        masks={"goals": [0.5], "target_sparsity": 0.1},
        ga={"num_generations": 3},
    )
    assert {line["generation"] for line in journal(directory)} == {0, 1, 2}


def violations(directory, structure):
    """Masks of the artifact that are not of the structure."""
    return [name for name, mask in masks(directory).items() if not STRUCTURES[structure](mask)]


def is_two_of_four(mask):
    rows = np.moveaxis(mask, 1, -1).reshape(-1, mask.shape[1])
    return all((rows[:, start : start + 4].sum(axis=1) <= 2).all() for start in range(0, mask.shape[1] - 3, 4))


def is_by_rows(mask):
    flat = mask.reshape(len(mask), -1)
    return bool((flat.all(axis=1) | ~flat.any(axis=1)).all())


def is_by_blocks(mask):
    blocks = [mask[i : i + 4, j : j + 4] for i in range(0, mask.shape[0], 4) for j in range(0, mask.shape[1], 4)]
    return all((block.all(axis=(0, 1)) | ~block.any(axis=(0, 1))).all() for block in blocks)


STRUCTURES = {"2:4": is_two_of_four, "rows": is_by_rows, "4x4": is_by_blocks}


@pytest.mark.parametrize(("structure", "goals"), [("2:4", [0.5, 0.6]), ("rows", [0.3, 0.5]), ("4x4", [0.3, 0.5])])
def test_masks_have_the_structure_after_every_step(mask_run, structure, goals):
    directory = mask_run(masks={"structure": structure, "goals": goals}, ga={"num_generations": 1})
    assert violations(directory, structure) == []
    assert all(step["sparsity"] >= goal - 1e-9 for step, goal in zip(steps(directory), goals, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["layers", "independent"])
@pytest.mark.parametrize("seeding", ["criteria", "none"])
@pytest.mark.parametrize("structure", ["2:4", "rows", "columns", "4x4", "unstructured"])
def test_every_structure_goes_with_every_mode_and_seeding(mask_run, mode, seeding, structure):
    goals = [0.55, 0.8]
    directory = mask_run(
        masks={"structure": structure, "goals": goals, "mode": mode},
        search={"seeding": seeding},
        ga={"num_generations": 1},
    )
    assert steps(directory)[-1]["sparsity"] >= 0.8 - 1e-9 or structure != "unstructured"


def test_scales_of_normalisation_are_pruned_where_asked_even_with_live_outputs(mask_run):
    directory = mask_run(masks={"norm_scales": True, "goals": [0.9]}, search={"seeding": "none"})
    found = masks(directory)
    assert set(found) == {*NAMES, "bn1.weight", "bn2.weight"}
    assert not (found["bn1.weight"].all() and found["bn2.weight"].all())


def test_exceptions_meet_the_goals_as_well(mask_run):
    directory = mask_run(search={"encoding": "threshold-exceptions"}, ga={"mutation_rate": 0.3})
    assert [step["sparsity"] for step in steps(directory)] == pytest.approx([0.3, 0.6])


def test_polishing_follows_on_ratios_and_loses_nothing(mask_run):
    directory = mask_run(search={"encoding": "keep-ratios"}, masks={"polish_generations": 2, "goals": [0.6]})
    lines = journal(directory)
    assert [line["encoding"] for line in lines] == ["keep-ratios"] * 8 + ["weight-bits"] * 8
    best = max(line["fitness"] for line in lines[:8])
    assert lines[8]["fitness"] == pytest.approx(best, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("run", "whole"), ("solutions", "whole"), ("file", "whole"), ("run", "layers"), ("run", "independent")],
)
def test_search_begins_with_the_masks_of_another_run(mask_run, mode, kind):
    other = mask_run("other", masks={"goals": [0.5]}, run={"seed": 3}, ga={"num_generations": 1})
    path = {"run": other, "solutions": other / "solutions", "file": other / "artifact" / "masks.safetensors"}[kind]
    cold, warm = (
        mask_run(
            name, search={"seeding": "none"}, masks={"goals": [0.5], "mode": mode, **more}, ga={"num_generations": 1}
        )
        for name, more in (("cold", {}), ("warm", {"warm_start": str(path)}))
    )
    known = read_artifact_plan(other / "artifact")
    if mode == "whole":
        assert np.array_equal(
            bits_of(journal(warm)[0]), np.concatenate([known.masks[name].bools.ravel() for name in NAMES])
        )
    assert journal(warm)[0] != journal(cold)[0]


def test_warm_start_from_some_layers_leaves_the_others_whole(mask_run):
    other = mask_run("other", masks={"goals": [0.5], "layers": ["conv2"]}, ga={"num_generations": 1})
    directory = mask_run(
        search={"seeding": "none"}, masks={"goals": None, "warm_start": str(other)}, ga={"num_generations": 1}
    )
    first, known = bits_of(journal(directory)[0]), read_solutions(other / "solutions")
    assert first[:216].all()
    assert np.array_equal(first[216:792], known.masks["conv2.weight"].bools.ravel())


@pytest.mark.slow
def test_all_modes_give_the_same_when_the_seed_is_the_same(mask_run):
    sections = {"masks": {"mode": "independent", "goals": [0.5]}}
    assert contents(mask_run("first", **sections)) == contents(mask_run("second", **sections))
