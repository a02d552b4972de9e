"""The how-to pages run: every Python block of a page, from top to bottom, on a model and task of one's own."""

import re
from pathlib import Path

import pytest

from evoprune.testing.tiny import tiny_recipe

HOW_TO = Path(__file__).parents[1] / "docs/how-to"


@pytest.mark.slow
def test_code_of_the_page_on_masks_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    names = {"model": model.eval(), "task": task, "example_inputs": example_inputs}
    text = (HOW_TO / "weight-masks.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "docs/how-to/weight-masks.md", "exec"), names)
    assert len(blocks) == 4
    assert "sparsity of weights" in capsys.readouterr().out
    assert (tmp_path / "runs/mine/finetuned/model.json").is_file()
