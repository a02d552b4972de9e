import pytest

import evoprune as ep
from evoprune.errors import ConfigError, RunError, UsageError
from evoprune.python_terms import SETTINGS, in_python_terms
from evoprune.testing.tiny import tiny_recipe

TERMS = [
    ("choose another --out", "choose another out="),
    ("--out; nothing was changed", "out=; nothing was changed"),
    ("search.constraints contradict each other", "constraints contradict each other"),
    ("raise it (search.layers, search.layer_types)", "raise it (layers, search.layer_types)"),
    ("set search.layers.", "set layers."),
    ("search.layers_x and my.search.layers stay", "search.layers_x and my.search.layers stay"),
    ("--set search.latency_table=FILE", "--set search.latency_table=FILE"),
    ("lower --lr", "lower lr="),
]


@pytest.mark.parametrize(("told", "expected"), TERMS)
def test_options_and_settings_are_named_as_arguments(told, expected):
    with pytest.raises(UsageError) as caught, in_python_terms(SETTINGS):
        raise UsageError(told, told)
    assert (caught.value.message, caught.value.hint) == (expected, expected)
    assert str(caught.value) == f"{expected} ({expected})"


def test_kind_of_error_stays_and_settings_stay_where_the_function_has_no_such_arguments():
    with pytest.raises(RunError, match=r"search\.constraints"), in_python_terms():
        raise RunError("loosen search.constraints")


def test_evolve_names_its_arguments(tmp_path):
    with pytest.raises(ConfigError, match=r"^workers: Input should be"):
        ep.evolve(*tiny_recipe(), workers=0, out=tmp_path / "run", progress=False)
