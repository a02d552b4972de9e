import subprocess
import sys

import pytest

from evoprune.execution.parcel import Parcel, fetch

WITHOUT_GUARD = """
from evoprune.events import ignore
from evoprune.execution.process_pool import ProcessPoolExecutor
from evoprune.testing.executor_suite import job
from functools import partial

executor = ProcessPoolExecutor(partial(bytes, 10_000_000), workers=1, threads=1, notify=ignore)
executor.submit(job(0))
executor.wait()
"""


@pytest.fixture
def parcel():
    parcel = Parcel(b"x" * 1_000_000)
    yield parcel
    parcel.close()


def test_parcel_is_handed_out_to_everyone_who_asks(parcel):
    assert [len(fetch(parcel.address)) for _ in range(3)] == [1_000_000] * 3


def test_parcel_is_gone_when_it_is_closed_twice(parcel):
    parcel.close()
    parcel.close()
    with pytest.raises(OSError, match=r"refused|No such file"):
        fetch(parcel.address)


@pytest.mark.slow
def test_pool_stops_with_a_hint_when_a_script_has_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD)
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "the worker processes are gone" in done.stderr
    assert 'a script needs `if __name__ == "__main__":`' in done.stderr
