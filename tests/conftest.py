"""Guards that every test runs under: what a test changes outside itself makes that test fail, not a later one."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

from evoprune.rng import isolated_rng

GRACE_S = 5.0
"""How long threads and processes that are on their way out may take."""

UNWATCHED = {
    "PYTEST_CURRENT_TEST",
    "TORCHINDUCTOR_CACHE_DIR",
    "RAY_CLIENT_MODE",
    "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",
}
"""Variables that pytest sets for each test, torch at the first optimiser and when it compiles, and Ray when it is imported."""

hypothesis.settings.register_profile("evoprune", deadline=None, derandomize=True)
hypothesis.settings.load_profile("evoprune")
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A script's background ignores Ctrl-C, and so would the processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    # Likewise nohup; processes that are started get the default back where their parent has a handler.
    signal.signal(signal.SIGHUP, lambda *_: None)


@dataclass(frozen=True)
class Surroundings:
    """What a test shares with all others, as it was at one moment."""

    environment: dict[str, str]
    torch_threads: int
    threads: frozenset[threading.Thread]
    processes: frozenset[int]
    python_rng: tuple[Any, ...]
    numpy_rng: dict[str, Any]
    torch_rng: torch.Tensor

    @classmethod
    def now(cls) -> Surroundings:
        return cls(
            environment={key: value for key, value in os.environ.items() if key not in UNWATCHED},
            torch_threads=torch.get_num_threads(),
            threads=frozenset(thread for thread in threading.enumerate() if not thread.daemon),
            processes=child_processes(),
            python_rng=random.getstate(),
            numpy_rng=np.random.get_state(legacy=False),  # noqa: NPY002 - watching the global generator is the point
            torch_rng=torch.get_rng_state(),
        )

    def restore(self) -> None:
        """Undo what can be undone, so that one leak fails one test."""
        for name in os.environ.keys() - self.environment.keys() - UNWATCHED:
            del os.environ[name]
        os.environ.update(self.environment)
        torch.set_num_threads(self.torch_threads)
        random.setstate(self.python_rng)
        np.random.set_state(self.numpy_rng)  # noqa: NPY002 - as above
        torch.set_rng_state(self.torch_rng)


def child_processes() -> frozenset[int]:
    """Ids of this process's children, without the helper that multiprocessing keeps for as long as Python runs."""
    children = {process.pid for process in multiprocessing.active_children()}
    for listing in Path("/proc/self/task").glob("*/children"):  # Linux knows those that subprocess started, too
        try:
            children.update(map(int, listing.read_text().split()))
        except OSError:  # the thread has just ended
            continue
    helper = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    return frozenset(pid for pid in children if pid is not None and pid != helper)


def same_state(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two states of numpy's global generator are equal."""
    first, second = ((s["state"]["pos"], s["has_gauss"], s["gauss"], s["state"]["key"].tobytes()) for s in (one, other))
    return first == second


def leaks(before: Surroundings, after: Surroundings) -> list[str]:
    """One line for each thing that is not as it was."""
    found = [
        f"environment variable {name} was {before.environment.get(name)!r}, is {after.environment.get(name)!r}"
        for name in sorted(before.environment.keys() | after.environment.keys())
        if before.environment.get(name) != after.environment.get(name)
    ]
    if after.torch_threads != before.torch_threads:
        found.append(f"torch ran on {before.torch_threads} threads, now on {after.torch_threads}")
    found += [f"thread {thread.name} still runs" for thread in after.threads - before.threads]
    found += [f"child process {pid} still runs" for pid in sorted(after.processes - before.processes)]
    hint = "draw from a generator of your own, or build models in evoprune.rng.isolated_rng or the fixture seeded_torch"
    changed = {
        "random": before.python_rng != after.python_rng,
        "numpy": not same_state(before.numpy_rng, after.numpy_rng),
        "torch": not torch.equal(before.torch_rng, after.torch_rng),
    }
    return found + [f"the global generator of {name} was used: {hint}" for name, used in changed.items() if used]


@pytest.fixture(autouse=True, scope="session")
def rich_with_a_generator_of_its_own() -> Iterator[None]:
    """rich numbers its styles with `random.getrandbits`; that is its own affair and no leak of ours."""
    patch = pytest.MonkeyPatch()
    patch.setattr("rich.style.getrandbits", random.Random(0).getrandbits)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves the environment, threads, processes or a global generator different."""
    before = Surroundings.now()
    yield
    after, patience = Surroundings.now(), time.monotonic() + GRACE_S
    while (after.threads - before.threads or after.processes - before.processes) and time.monotonic() < patience:
        time.sleep(0.02)
        after = Surroundings.now()
    found = leaks(before, after)
    before.restore()
    if found:
        pytest.fail("the test leaks:\n  " + "\n  ".join(found), pytrace=False)


@pytest.fixture
def seeded_torch() -> Iterator[None]:
    """Lend torch's global generator, seeded, to a test that builds models with random weights."""
    with isolated_rng(0):
        yield


@pytest.fixture
def onnx_installed():
    """Skips a test where the extra `onnx` isn't installed."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'evoprune[onnx]'")
