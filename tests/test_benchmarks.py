"""The parts of the benchmarks that decide something decide it rightly."""

import copy
import sys
from pathlib import Path

import pytest
import torch

from evoprune.pruning.checked import analyze
from evoprune.pruning.structured import prune

FOLDER = Path(__file__).parents[1] / "benchmarks/analysis"
MODULES = ("faults", "libraries", "models", "outcomes")


@pytest.fixture
def analysis(monkeypatch):
    """The benchmark's modules by name; they import each other as scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield {name: __import__(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name)


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
