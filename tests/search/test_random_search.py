from itertools import chain

import numpy as np

from evoprune.search.random_search import RandomSearch
from evoprune.testing.search_suite import SETTINGS, Groups, flat, noisy, play


def test_random_search_asks_for_nearly_all_of_a_tiny_space_before_it_ends():
    asked = play(RandomSearch(Groups(4), SETTINGS, objectives=1, seed=0), flat, 50)
    assert {genome.bits.tobytes() for genome in chain(*asked)} == {
        bytes(number >> position & 1 for position in range(4)) for number in range(1, 16)
    }


def test_random_search_ignores_what_it_is_told():
    searches = [RandomSearch(Groups(30), SETTINGS, objectives=1, seed=1) for _ in range(2)]
    assert play(searches[0], flat, 4) == play(searches[1], noisy, 4)


def test_random_search_keeps_within_the_range_of_shares():
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "initial_keep": (0.45, 0.55)})
    asked = play(RandomSearch(Groups(400), settings, objectives=1, seed=2), flat, 5)
    shares = np.array([genome.bits.mean() for genome in chain(*asked)])
    assert shares.min() > 0.33
    assert shares.max() < 0.67
