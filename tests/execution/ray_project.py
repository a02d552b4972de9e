"""A user's folder with a recipe of their own, runs of it from the command line, and signs by which a test follows candidates."""

import json
import os
import subprocess
import sys

import matplotlib as mpl

from tests.execution.processes import command, wait_until

RECIPE = '''
import os
import time
from pathlib import Path

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

SIGNS = Path({signs!r})


def recipe(*, seed=0):
    model, task, example_inputs = tiny_recipe(seed=seed)
    return model, ep.Task(task.train, task.select, task.test, metric=metric), example_inputs


def metric(outputs, targets):
    """Top-1, in Ray's workers at the pace that the test sets and with a sign as long as it takes."""
    pace = SIGNS / "pace"
    if Path("/proc/self/cmdline").read_text().startswith("ray::") and pace.exists():
        sign = SIGNS / f"{{os.getpid()}}.at-work"
        sign.touch()
        time.sleep(float(pace.read_text()))
        sign.unlink(missing_ok=True)
    return outputs.argmax(dim=1) == targets
'''
TRAINING = {"epochs": 1, "retrain_epochs": 0, "batch_size": 64}
LAYERS = {
    "search": {"encoding": "weight-bits"},
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": TRAINING,
    "masks": {"goals": [0.3, 0.6], "fisher_samples": 64, "min_class_accuracy": 0, "mode": "layers"},
}
CHANNELS = {"ga": {"pop_size": 6, "num_generations": 3}, "training": {**TRAINING, "finetune_steps": 2}}
KINDS = {
    "channels": CHANNELS,
    "channels within a budget": {**CHANNELS, "search": {"constraints": ["macs<=0.5"]}},
    "masks layer by layer": LAYERS,
    "masks of layers alone": {**LAYERS, "masks": {**LAYERS["masks"], "mode": "independent"}},
}


class Project:
    """A folder where runs are started."""

    def __init__(self, folder):
        self.folder, self.signs = folder / "project", folder / "signs"
        for one in (self.folder, self.signs):
            one.mkdir()
        (self.folder / "my_recipe.py").write_text(RECIPE.format(signs=str(self.signs)))
        for kind, settings in KINDS.items():
            common = {"recipe": "my_recipe:recipe", "execution": {"training_threads": 1}}
            (self.folder / f"{kind}.yaml").write_text(json.dumps({**common, **settings}))

    def start(self, *arguments, environment=()):
        """The process of a command; the home folder is the project's own."""
        (self.folder / "home").mkdir(exist_ok=True)
        known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own = {
            "HOME": str(self.folder / "home"),
            "EVOPRUNE_CACHE": str(self.folder / "cache"),
            "MPLCONFIGDIR": mpl.get_cachedir(),  # its list of fonts takes seconds to make
        }
        return subprocess.Popen(
            [sys.executable, "-c", "from evoprune.cli.app import main; main()", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**known, **own, **dict(environment)},
        )

    def run(self, *arguments, environment=()):
        """Run a command to its end."""
        ended(self.start(*arguments, environment=environment))

    def pace(self, seconds):
        """Let candidates take longer; those in workers of Ray alone."""
        (self.signs / "pace").write_text(str(seconds))

    def at_work(self):
        """Ids of the workers that are in the middle of a candidate."""
        return {int(sign.stem) for sign in self.signs.glob("*.at-work") if command(int(sign.stem))}

    def journal(self, name):
        path = self.folder / name / "evaluations.jsonl"
        return path.read_bytes() if path.exists() else b""

    def events(self, name, kind):
        lines = [json.loads(line) for line in (self.folder / name / "events.jsonl").read_text().splitlines()]
        return [line for line in lines if line["event"] == kind]

    def workers(self, name):
        """Ids of the processes that have evaluated candidates."""
        return {one["cost"]["worker"] for one in self.events(name, "CandidateEvaluated") if not one["replayed"]}

    def wait_for_lines(self, name, count, process):
        """Until the journal has so many."""
        wait_until(lambda: self.journal(name).count(b"\n") >= count or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]


def ended(process):
    """Wait for the end, which is to be a good one."""
    output = process.communicate()[0]
    assert process.returncode == 0, output
