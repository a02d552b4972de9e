"""What other systems don't have: modules and names of POSIX, hidden from a process that does all that needs none of them."""

import os
import pkgutil
import subprocess
import sys

import pytest

import evoprune

POSIX_MODULES = ("resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog")
SIGNALS = (
    "SIGKILL",
    "SIGALRM",
    "SIGHUP",
    "SIGUSR1",
    "SIGCHLD",
    "SIGSTOP",
    "setitimer",
    "pthread_sigmask",
    "ITIMER_REAL",
)
SYSTEM = ("sched_getaffinity", "fork", "killpg", "getpgid", "setsid", "statvfs", "sysconf", "nice", "getloadavg")

HIDING = f"""
import sys, warnings
import multiprocessing.util  # before anything is hidden: the standard library knows its own system
import os, signal

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {POSIX_MODULES}:
            raise ImportError(f"No module named {{name!r}}")

for name in {POSIX_MODULES}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for module, names in ((signal, {SIGNALS}), (os, {SYSTEM})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""

EVOLVE = """
import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

model, task, inputs = tiny_recipe()
assert ep.analyze(model, inputs).groups
config = {"ga": {"pop_size": 3, "num_generations": 1}, "training": {"finetune_steps": 1, "retrain_epochs": 1}}
config["masks"] = {"goals": [0.3], "min_class_accuracy": 0}
result = ep.evolve(model, task, inputs, config=config, encoding=sys.argv[2], out=sys.argv[1] + "/run")
assert type(ep.load(result.directory / "artifact")) is type(model)
assert not {"resource", "fcntl"} & set(sys.modules)
print("evolved")
"""


LIMITED = """
from evoprune.errors import UsageError
from evoprune.execution.pool.oom_kills import OomKills
from evoprune.config.schema import make_config
from evoprune.run.factories.common import placement_of
from evoprune.run.stopwatch import cpu_seconds

assert not OomKills().explain(1)
before = cpu_seconds()
while cpu_seconds() <= before:
    pass
for executor in ("in-process", "process-pool"):
    try:
        placement_of(make_config({"execution": {"candidate_time_limit": 5, "executor": executor}})).check()
    except UsageError as error:
        print(error)
"""

IMPORT = """
import importlib
for name in sys.argv[3:]:
    importlib.import_module(name)
"""


def modules():
    """All of ours but those on Ray, whose own package for Linux imports `resource`."""
    ours = [one.name for one in pkgutil.walk_packages(evoprune.__path__, "evoprune.") if "__main__" not in one.name]
    return [name for name in ours if not name.startswith("evoprune.execution.ray")]


def output(code, folder, *arguments):
    """What a process says that runs `code` with all that hidden."""
    # Windows has no `fcntl`, but a lock of its own, which this system hasn't: filelock warns that it falls back.
    command = [sys.executable, "-W", "ignore:only soft file lock", "-c", HIDING + code, str(folder), *arguments]
    environment = {"EVOPRUNE_CACHE": str(folder / "cache"), "USERNAME": "somebody"}  # the latter as Windows sets it
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_analysis_and_a_run_of_channels_need_nothing_of_posix(tmp_path):
    refused, again, last = output(LIMITED + EVOLVE, tmp_path, "channel-bits")
    assert refused == again
    assert refused.startswith("this system has no interval timers to limit candidates by")
    assert last == "evolved"


@pytest.mark.slow
def test_every_module_and_a_run_of_masks_need_nothing_of_posix(tmp_path):
    assert len(modules()) > 200
    assert output(IMPORT + EVOLVE, tmp_path, "weight-bits", *modules()) == ["evolved"]
