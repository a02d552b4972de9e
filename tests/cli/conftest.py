"""The command line, called in this process or in one of its own."""

import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from evoprune.cli.app import main

TINY = "evoprune.testing.tiny:tiny_recipe"
SMALL = [
    "ga.pop_size=4",
    "ga.num_generations=2",
    "training.epochs=1",
    "training.retrain_epochs=1",
    "training.batch_size=64",
    "training.finetune_steps=2",
    "execution.training_threads=1",
    "execution.isolation=none",
]
COMMAND = [sys.executable, "-c", "from evoprune.cli.app import main; main()"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def settings(*assignments):
    return [part for assignment in (*SMALL, *assignments) for part in ("--set", assignment)]


def start(*arguments, **options):
    """The command in a process (and a process group) of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EVOPRUNE_CACHE", str(folder))
    return folder


@pytest.fixture
def evoprune(monkeypatch, capsys):
    """Call the command; gives its exit code and what it wrote."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["evoprune", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            main()
            code = 0
        except SystemExit as done:
            code = done.code or 0
        finally:
            signal.signal(signal.SIGTERM, handler)
        written = capsys.readouterr()
        return Done(code, written.out, written.err)

    return call


@pytest.fixture
def finished(evoprune, tmp_path):
    """The directory of a finished run."""
    assert evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "finished", *settings()).code == 0
    return tmp_path / "finished"
