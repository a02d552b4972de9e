import platform
import resource

import pytest
import torch

from evoprune.nn_utils.kept_memory import memory_kept


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such settings")
def test_memory_that_is_freed_and_asked_for_again_costs_no_page_faults():
    def passes():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(4):
            torch.ones(48 << 20, dtype=torch.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with memory_kept():
        passes()
        kept = passes()
    assert kept < 100
    assert passes() > 10 * max(1, kept)


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with memory_kept():
        assert torch.ones(2).sum() == 2
