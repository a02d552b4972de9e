import inspect
import pickle
import re

import pytest

from evoprune import errors
from evoprune.errors import CandidateError, EvopruneError, RunError, UsageError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EvopruneError)]


def test_errors_are_those_that_the_page_draws():
    drawn = re.findall(r"[├└│ ─]*(\w+Error)\b", errors.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS)
    assert len(KINDS) > 10


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not EvopruneError], ids=lambda kind: kind.__name__)
def test_error_belongs_to_exactly_one_who_has_to_act(kind):
    assert sum(issubclass(kind, family) for family in (UsageError, CandidateError, RunError)) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_says_message_and_hint_after_travelling_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("ga.pop_size is 1", "at least 2")))
    assert (type(error), error.message, error.hint) == (kind, "ga.pop_size is 1", "at least 2")
    assert str(error) == "ga.pop_size is 1 (at least 2)"
    assert str(kind("alone")) == "alone"
