"""The notebook runs, from its first cell to its last, on a run directory of either kind."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from evoprune.testing.tiny import tiny_recipe
from tests.report.mask_runs import MaskRun

NOTEBOOK = Path(__file__).parents[1] / "examples/plotting.ipynb"
PARAMETERS = 1
"""The cell that names the run."""


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run the notebook on a run directory; gives what its cells show, by kind."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def run(directory, others=None):
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        notebook.cells[PARAMETERS].source = f"RUN = {str(directory)!r}\nOTHERS = {others or {}!r}"
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        shown = [kind for output in outputs for kind in output.get("data", {})]
        return shown, json.dumps(outputs)

    return run


def test_notebook_is_stored_without_outputs_and_names_its_run_first():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert notebook.cells[PARAMETERS].source.startswith("RUN = ")


@pytest.mark.slow
def test_notebook_draws_the_figures_and_the_table_of_a_mask_run(execute, tmp_path):
    first = MaskRun(goals=(0.8, 0.9), generations=3).write(tmp_path / "one")
    other = MaskRun(goals=(0.8,), mode="layers", generations=2).write(tmp_path / "other")
    shown, text = execute(first, {"layer by layer": str(other)})
    assert shown.count("image/png") == 4
    assert "| layer by layer | 98.60 % |" in text
    assert "nonzero parameters" in text


@pytest.mark.slow
def test_notebook_draws_the_figures_of_a_channel_run(execute, tmp_path):
    import evoprune as ep

    config = {"ga": {"pop_size": 4, "num_generations": 2}, "training": {"finetune_steps": 1, "retrain_epochs": 0.5}}
    ep.evolve(*tiny_recipe(), config=config, out=tmp_path / "channels")
    shown, text = execute(tmp_path / "channels")
    assert shown.count("image/png") == 2
    assert "| channels |" in text


@pytest.mark.slow
def test_notebook_prunes_with_workers_and_shows_tables(tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    shutil.copy(NOTEBOOK.parent / "own_model.py", tmp_path)
    notebook = nbformat.read(NOTEBOOK.parent / "in_a_notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    changes = {
        "ga": {"pop_size": 4, "num_generations": 2},
        "training": {"epochs": 0.5, "retrain_epochs": 0.5, "finetune_steps": 2},
        "execution": {"training_threads": 1, "isolation": "none"},
    }
    notebook.cells[PARAMETERS].source = f"WORKERS, OUT, CHANGES = 2, 'run', {changes!r}"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert "pruning space" in pages[0]
    assert "2 candidates at a time" in pages[1]
    assert "test accuracy" in pages[2]
