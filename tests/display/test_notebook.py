"""A run below a cell: what is drawn, and a whole one in a kernel."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from evoprune.display.notebook import NotebookProgress, in_notebook
from evoprune.events import Caution, DataProgress, Decision, GenerationStarted

CELL = """
import evoprune as ep
from evoprune.testing.tiny import tiny_recipe
config = {"ga": {"pop_size": 2, "num_generations": 1}, "training": {"finetune_steps": 1, "retrain_epochs": 0.5},
          "execution": {"training_threads": 1, "isolation": "none"}}
result = ep.evolve(*tiny_recipe(), config=config, out="run")
result
"""


WORKERS = """
import torch
from torch import nn
import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(192, 16), nn.Linear(16, 16), nn.Linear(16, 4)
    def forward(self, images):
        return self.c(torch.relu(self.b(torch.relu(self.a(images.flatten(1))))))

config = {"ga": {"pop_size": 2, "num_generations": 1}, "training": {"finetune_steps": 1, "retrain_epochs": 0.5},
          "execution": {"training_threads": 1, "isolation": "none"}}
_, task, example_inputs = tiny_recipe()
before = torch.get_num_threads()
result = ep.evolve(Net(), task, example_inputs, config=config, workers=2, out="run")
assert torch.get_num_threads() == before
"""
"""A class of the notebook's own, and two workers, which could not import it."""


def executed(source, folder):
    """The outputs of a cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells[0].outputs


@pytest.fixture
def jupyter(tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))


def test_there_is_no_notebook_here():
    assert not in_notebook()


def test_lines_and_bars_are_text_alone():
    progress = NotebookProgress()
    for event in (Decision("<img>", "x"), Caution("scores", "near chance"), DataProgress("<i>", "npm", 1, 2)):
        progress(event)
    shown = progress.html()
    assert "<img>" not in shown
    assert "<i>" not in shown
    assert "&lt;img&gt;: x" in shown
    assert 'max="2" value="1"' in shown
    assert "bold" in shown


def test_generation_is_drawn_with_how_far_it_is():
    progress = NotebookProgress()
    progress(GenerationStarted(1, 3, 4))
    assert "generation 2 of 3 · 0/4 · 0 s" in progress.html()


@pytest.mark.slow
@pytest.mark.usefixtures("jupyter")
def test_run_in_a_kernel_is_drawn_in_one_output_and_its_result_is_a_table(tmp_path):
    outputs = executed(CELL, tmp_path)
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == 2, json.dumps(outputs)[:2000]
    assert "done in" in pages[0]
    assert "<progress" not in pages[0]
    assert "<td" in pages[1]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.usefixtures("jupyter")
def test_workers_that_could_not_have_a_notebooks_class_are_done_without_and_that_is_said(tmp_path):
    (output,) = executed(WORKERS, tmp_path)
    page = output["data"]["text/html"]
    assert "candidates are evaluated one at a time, without worker processes: __main__ defines Net" in page
    assert "1 candidates at a time" in page
