import pickle
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

from evoprune.execution import main_module
from evoprune.execution.main_module import main_left_alone, names_from_main, why_main_cannot_be_imported_again

GUARD = 'if __name__ == "__main__":'
BEGINNING = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import evoprune as ep

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())

def loader(count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=16)
"""
EVOLVE = """
print("begins")
config = {"ga": {"pop_size": 4, "num_generations": 1}, "training": {"retrain_epochs": 1, "finetune_steps": 1, "epochs": 1}}
task = ep.Task(loader(64, 1), loader(32, 2), loader(32, 3))
result = ep.evolve(Net(), task, torch.zeros(1, 6), workers=2, config=config)
print("done", sorted({line.split('"worker": ')[1].split(",")[0] != "0" for line in
    (result.directory / "events.jsonl").read_text().splitlines() if '"worker": ' in line}))
"""


class Elsewhere:
    """Of a module that can be imported."""


@pytest.fixture
def main(monkeypatch):
    """A module `__main__` with a class and a function of its own."""
    module = types.ModuleType("__main__")
    exec("class Net:\n    pass\n\ndef loss(a, b):\n    return a", module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_names_from_main_are_classes_and_functions_at_any_depth(main, seeded_torch):
    assert names_from_main({"a": [main.Net(), (main.loss,)], "b": torch.zeros(3)}) == ["Net", "loss"]
    assert names_from_main([Elsewhere(), torch.relu, nn.Linear(2, 2), b"__main__", "__main__"]) == []
    assert names_from_main(lambda: None) == []


def test_main_left_alone_hides_it_for_a_while(main):
    with main_left_alone():
        assert not hasattr(sys.modules["__main__"], "Net")
    assert sys.modules["__main__"] is main
    assert pickle.loads(pickle.dumps(main.Net)) is main.Net


def test_main_without_a_file_cannot_be_imported_again(main):
    assert "no file" in why_main_cannot_be_imported_again()


@pytest.mark.parametrize(
    ("text", "line", "guarded"),
    [
        (f"work()\n{GUARD}\n    work()\n", 1, False),
        (f"work()\n{GUARD}\n    work()\n", 3, True),
        ("work()\n", None, False),
        (f"import a\n{GUARD}\n    work()\n", None, True),
        ("if '__main__' == __name__:\n    a = 1\n    work(\n        a\n    )\n", 4, True),
        ('if __name__ != "__main__":\n    work()\n', 2, False),
        ("if True:\n    work()\n", 2, False),
        ("%matplotlib\nwork()\n", 2, False),
    ],
)
def test_main_can_be_imported_again_when_its_work_is_guarded(main, monkeypatch, tmp_path, text, line, guarded):
    main.__file__ = str(tmp_path / "script.py")
    (tmp_path / "script.py").write_text(text)
    monkeypatch.setattr(main_module, "_line_of_script", lambda: line)
    assert (why_main_cannot_be_imported_again() == "") is guarded


def run(script, *arguments, stdin=None):
    command = [sys.executable, *arguments, *([] if stdin else [script])]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, input=stdin)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["without a guard", "notebook", "guarded"])
def test_evolve_with_workers_runs_a_script_once_whatever_it_defines(tmp_path, kind):
    script = tmp_path / "script.py"
    body = EVOLVE if kind != "guarded" else f"{GUARD}\n    " + EVOLVE.strip().replace("\n", "\n    ")
    script.write_text(BEGINNING + body + "\n")
    done = run(script, stdin=BEGINNING + body + "\n" if kind == "notebook" else None)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout.splitlines() == ["begins", "done [True]"]
    said = [line for line in done.stderr.splitlines() if "one at a time" in line]
    assert len(said) == (kind != "guarded")
    assert all(line.startswith("[ ") for line in done.stderr.splitlines())
