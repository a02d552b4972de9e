import pytest
import torch

from evoprune.nn_utils.threads import thread_environment, torch_threads


def test_threads_are_restored_when_the_block_raises():
    before = torch.get_num_threads()
    inside = []

    def fail():
        inside.append(torch.get_num_threads())
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), torch_threads(before + 1):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_environment_names_every_pool_that_torch_may_use():
    assert thread_environment(3) == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
