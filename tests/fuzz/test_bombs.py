"""Small files that stand for much are refused before there is memory for it."""

import json
import subprocess
import sys

import pytest

from tests.fuzz.bombs import BOMBS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_reader_refuses_what_stands_for_far_more_than_the_file_is_long():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.bombs"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(BOMBS, "refused")
