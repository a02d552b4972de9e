"""What tests that start Ray's processes run under."""

import faulthandler
import os
import random
import signal

import pytest

PATIENCE_S = 120
GRACE_S = 30


@pytest.fixture(scope="session")
def undisturbed_stderr(pytestconfig):
    """The standard error that pytest itself writes to."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        descriptor = os.dup(2)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def in_time(undisturbed_stderr):
    """Ray waits for ever for what does not come: first the test fails, and if that doesn't help, this process ends."""

    def give_up(*_):
        raise TimeoutError(f"the test took longer than {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_S)
    # From a thread outside Python; what Ray has started goes with its parent.
    faulthandler.dump_traceback_later(PATIENCE_S + GRACE_S, exit=True, file=undisturbed_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def rays_random():
    """Ray draws from Python's global generator; that is its own affair and no leak of ours."""
    before = random.getstate()
    yield
    random.setstate(before)
