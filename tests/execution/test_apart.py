import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from evoprune.data.loaders import LoaderSource
from evoprune.errors import ConfigError, RunError
from evoprune.events import Decision, ignore
from evoprune.execution.apart import ProcessDied, can_work_apart, ending, is_crash, shielded, work_apart
from evoprune.nn_utils.threads import torch_threads
from evoprune.rng import isolated_rng
from tests.execution.processes import descendants, is_alive, wait_until

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not can_work_apart(), reason="needs forks")

PARENT = """
import time
from pathlib import Path
from evoprune.events import ignore
from evoprune.execution.apart import work_apart

def work(notify):
    Path({mark!r}).touch()
    time.sleep(600)

work_apart(work, ignore)
"""


def learnt(channels_last=False, steps=4):
    with isolated_rng(0):
        model = nn.Sequential(nn.Conv2d(3, 13, 3), nn.BatchNorm2d(13), nn.ReLU(), nn.Flatten(), nn.Linear(13 * 36, 4))
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters())
        images, targets = torch.randn(40, 3, 8, 8), torch.randint(4, (40,))
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            optimizer.step()
    return [value.tolist() for value in model.state_dict().values()]


def crash(number=signal.SIGSEGV):
    signal.pthread_kill(__import__("threading").get_ident(), number)
    time.sleep(60)


def test_work_apart_gives_what_came_of_it_and_tells_what_it_is_told():
    told, here = [], os.getpid()

    def work(notify):
        notify(Decision("where", str(os.getpid() != here)))
        return os.getppid()

    assert work_apart(work, told.append) == here
    assert told == [Decision("where", "True")]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_training_apart_is_the_very_same_as_here(threads, channels_last):
    with torch_threads(threads):
        here = learnt(channels_last)  # with OpenMP's threads at work here, too
        assert work_apart(lambda _: learnt(channels_last), ignore) == here
        assert learnt(channels_last) == here


def test_errors_are_raised_here_with_their_hints():
    def work(_):
        raise ConfigError("too high", "lower it")

    with pytest.raises(ConfigError, match="too high") as caught:
        work_apart(work, ignore)
    assert caught.value.hint == "lower it"


def test_errors_and_results_that_cannot_travel_are_named():
    class OwnError(Exception):
        pass

    def work(_):
        raise OwnError("inside")

    with pytest.raises(RunError, match="inside"):
        work_apart(work, ignore)
    with pytest.raises(RunError, match="what came of its work"):
        work_apart(lambda _: lambda: None, ignore)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL], ids=lambda one: one.name)
def test_end_of_the_child_is_an_answer(number):
    with pytest.raises(ProcessDied) as caught:
        work_apart(lambda _: crash(number), ignore)
    assert str(caught.value) == number.name
    assert caught.value.crashed is (number is not signal.SIGKILL)


def test_child_that_crashes_with_a_loaders_workers_is_noticed_soon():
    def work(_):
        loader = DataLoader(TensorDataset(torch.zeros(64, 1)), batch_size=4, num_workers=1)
        next(iter(loader))
        crash()

    started = time.monotonic()
    with pytest.raises(ProcessDied):
        work_apart(work, ignore)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_child_takes_too_long():
    with pytest.raises(TimeoutError):
        work_apart(lambda _: time.sleep(60), ignore, patience_s=0.1)


def test_warnings_of_the_child_are_given_here():
    with pytest.warns(UserWarning, match="mind the gap"):
        work_apart(lambda _: warnings.warn("mind the gap", stacklevel=1), ignore)


def test_loader_of_the_parent_goes_on_when_a_child_has_read_it_too():
    source = LoaderSource((DataLoader(TensorDataset(torch.arange(8.0), torch.arange(8)), batch_size=4, num_workers=1),))

    def total(_=None):
        return sum(float(inputs.sum()) for inputs, _ in source.batches(4, device=CPU))

    try:
        assert [total(), work_apart(total, ignore), total()] == [28.0] * 3
    finally:
        source.close()


def test_shielded_check_raises_its_errors_and_passes_over_crashes(seeded_torch):
    model = nn.Conv2d(1, 1, 1)
    shielded(model, crash)

    def check():
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        shielded(model, check)


@pytest.mark.parametrize(
    ("code", "words", "crashed"), [(-11, "SIGSEGV", True), (-9, "SIGKILL", False), (3, "exit code 3", False)]
)
def test_endings_have_names(code, words, crashed):
    assert (ending(code), is_crash(code)) == (words, crashed)


@pytest.mark.slow
def test_child_ends_with_its_parent(tmp_path):
    mark, script = tmp_path / "mark", tmp_path / "script.py"
    script.write_text(PARENT.format(mark=str(mark)))
    with subprocess.Popen([sys.executable, script]) as parent:
        wait_until(mark.exists)
        children = descendants(parent.pid)
        parent.kill()
    wait_until(lambda: not any(map(is_alive, children)), 20)
    assert children
