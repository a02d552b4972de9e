import random

import numpy as np
import pytest
import torch

from evoprune.rng import isolated_rng


def test_isolated_rng_gives_the_same_numbers_whatever_was_drawn_before():
    with isolated_rng(7):
        first = torch.rand(3)
    with isolated_rng(7):
        again = torch.rand(3)
    with isolated_rng(8):
        other = torch.rand(3)
    assert first.equal(again)
    assert not first.equal(other)


def test_isolated_rng_puts_the_global_generator_back_when_the_block_fails():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), isolated_rng(2**63 - 1):
        torch.rand(3).view(2)
    assert torch.get_rng_state().equal(before)


def test_isolated_rng_seeds_the_generators_of_numpy_and_python_and_puts_them_back():
    def drawn():
        return np.random.rand(), random.random(), torch.rand(()).item()  # noqa: NPY002

    states = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with isolated_rng(2**63 - 1):
        first = drawn()
    with isolated_rng(2**63 - 1):
        drawn()
        with isolated_rng(5):
            other = drawn()
    with isolated_rng(2**63 - 1):
        again = drawn()
    assert first == again
    assert not set(first) & set(other)
    assert np.array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert random.getstate() == states[1]
