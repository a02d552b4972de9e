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
def test_run_in_a_kernel_is_drawn_in_one_output_and_its_result_is_a_table(tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == 2, json.dumps(outputs)[:2000]
    assert "done in" in pages[0]
    assert "<progress" not in pages[0]
    assert "<td" in pages[1]
    assert not [output for output in outputs if output.get("name") == "stderr"]
