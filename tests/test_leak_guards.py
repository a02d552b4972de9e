"""The guards of conftest.py: each leak fails the test that caused it, and that test alone."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GUARDS = (Path(__file__).parent / "conftest.py").read_text(encoding="utf-8")

LEAKS = {
    "environment variable EVOPRUNE_LEAK": "import os; os.environ['EVOPRUNE_LEAK'] = '1'",
    "environment variable HOME": "import os; os.environ.pop('HOME')",
    "torch ran on 1 threads": "import torch; torch.set_num_threads(2)",
    "thread leaked still runs": "import threading; threading.Thread(target=DONE.wait, name='leaked').start()",
    "child process": "import subprocess; PROCESSES.append(subprocess.Popen(['sleep', '60']))",
    "global generator of random": "import random; random.random()",
    "global generator of numpy": "import numpy; numpy.random.rand()",
    "global generator of torch": "import torch; torch.rand(1)",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_guard_fails_the_test_when_it_leaks(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, leak: str):
    monkeypatch.setenv("HOME", str(pytester.path))
    pytester.makeconftest(GUARDS.replace("GRACE_S = 5.0", "GRACE_S = 0.1"))
    pytester.makepyfile(
        f"""
        import threading

        DONE, PROCESSES = threading.Event(), []

        def test_leaks():
            {LEAKS[leak]}

        def test_is_clean():
            DONE.set()
            for process in PROCESSES:
                process.kill()
                process.wait()
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"*{leak}*"])


def test_guard_is_silent_when_a_test_cleans_up(pytester: pytest.Pytester):
    pytester.makeconftest(GUARDS)
    pytester.makepyfile(
        """
        import os, subprocess, sys, threading
        import torch

        def test_patches_the_environment(monkeypatch):
            monkeypatch.setenv("EVOPRUNE_LEAK", "1")

        def test_builds_a_model(seeded_torch):
            assert torch.nn.Linear(2, 2).weight.abs().sum() > 0

        def test_joins_what_it_starts():
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            subprocess.run([sys.executable, "-c", ""], check=True)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)


def test_seeded_torch_gives_the_same_weights_when_asked_again(pytester: pytest.Pytester):
    pytester.makeconftest(GUARDS)
    pytester.makepyfile(
        """
        import pytest, torch

        DRAWN = []

        @pytest.mark.parametrize("turn", range(2))
        def test_draws(turn, seeded_torch):
            DRAWN.append(torch.rand(3).tolist())
            assert DRAWN[turn] == DRAWN[0]
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
