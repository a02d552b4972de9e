import signal
from pathlib import Path

import pytest

from evoprune.execution.pool.oom_kills import OomKills, own_counters


@pytest.fixture
def counter(tmp_path):
    """A counter as the kernel shows it; call it with how many were killed."""

    class Counter:
        path = tmp_path / "memory.events"

        def __call__(self, kills):
            self.path.write_text(f"low 0\nhigh 0\nmax 31\noom 2\noom_kill {kills}\noom_group_kill 7\n")

    counter = Counter()
    counter(3)
    return counter


def test_sigkill_is_explained_when_the_system_has_killed_since(counter):
    kills = OomKills([counter.path])
    counter(4)
    assert kills.explain(-signal.SIGKILL)
    assert not kills.explain(-signal.SIGKILL)


def test_two_kills_explain_two_deaths_whenever_they_are_noticed(counter):
    kills = OomKills([counter.path])
    counter(5)
    assert [kills.explain(-signal.SIGKILL) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("code", [0, 1, -signal.SIGSEGV, -signal.SIGALRM, None])
def test_other_deaths_are_not_explained(counter, code):
    kills = OomKills([counter.path])
    counter(4)
    assert not kills.explain(code)


def test_any_sigkill_counts_when_nobody_counts(tmp_path):
    (tmp_path / "old").write_text("nr_free_pages 12\n")
    kills = OomKills([tmp_path / "missing", tmp_path / "old"])
    assert kills.explain(-signal.SIGKILL)
    assert not kills.explain(1)


def test_first_counter_that_counts_is_used(counter, tmp_path):
    (tmp_path / "vmstat").write_text("oom_kill 0\n")
    kills = OomKills([tmp_path / "missing", counter.path, tmp_path / "vmstat"])
    counter(4)
    assert kills.explain(-signal.SIGKILL)


def test_own_group_is_found_in_both_versions(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("9:cpu,memory:/job\n8:pids:/\n0::/user.slice/job\n")
    assert list(own_counters(own, Path("/groups"), Path("/vmstat"))) == [
        Path("/groups/memory/job/memory.oom_control"),
        Path("/groups/memory/memory.oom_control"),
        Path("/groups/user.slice/job/memory.events"),
        Path("/vmstat"),
    ]


def test_whole_system_is_what_is_left_when_there_are_no_groups(tmp_path):
    assert list(own_counters(tmp_path / "none", Path("/groups"), Path("/vmstat"))) == [Path("/vmstat")]
