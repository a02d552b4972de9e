import pytest

from evoprune.errors import UsageError
from evoprune.name_patterns import covers, names_it, nearest, one_or_more


@pytest.mark.parametrize("patterns", ["head", ["head"], ("head",)])
def test_one_pattern_is_one_and_not_its_letters(patterns):
    assert one_or_more(patterns) == ("head",)


def test_no_pattern_at_all_is_none():
    assert one_or_more(None) == one_or_more(()) == ()


@pytest.mark.parametrize("patterns", [3, [3], ["head", None], b"head", [["head"]], [object()]])
def test_what_is_no_text_is_refused(patterns):
    with pytest.raises(UsageError, match="is no text"):
        one_or_more(patterns)


@pytest.mark.parametrize(
    ("pattern", "name", "is_it", "is_covered"),
    [
        ("layer1", "layer1", True, True),
        ("layer1", "layer1.0.conv1.weight", False, True),
        ("layer1", "layer10.conv.weight", False, False),
        ("layer1.*", "layer1.0.conv1", True, True),
        ("*.conv?", "layer1.0.conv1.weight", False, True),
        ("module.head", "head.weight", False, True),
        ("head", "module.head", True, True),
        ("head", "_orig_mod.head.bias", False, True),
        ("module", "module.head", False, True),
        ("Head", "head", False, False),
        ("hea", "head", False, False),
    ],
)
def test_pattern_names_a_layer_or_covers_what_is_in_it(pattern, name, is_it, is_covered):
    assert (names_it(pattern, name), covers(pattern, name)) == (is_it, is_covered)


def test_nearest_names_come_first_and_many_are_cut():
    known = [f"layer{number}" for number in range(20)] + ["head"]
    assert nearest("haed", known).startswith("head, ")
    assert nearest("haed", known).endswith(" and 9 more")
