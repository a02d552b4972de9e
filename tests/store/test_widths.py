import json

import pytest

from evoprune.errors import StoreCorruptedError
from evoprune.store.widths import GroupSize, NetworkWidths, Widths, read_widths

WIDTHS = Widths(
    groups=(GroupSize("conv1", 8, ("conv1", "conv2")), GroupSize("fc", 4)),
    networks={"a": NetworkWidths((8, 1), ("l1", "-")), "b": NetworkWidths((2, 4))},
    frozen={"head": "reaches the output"},
)


def test_widths_are_read_as_they_were_written(tmp_path):
    (tmp_path / "widths.json").write_text(json.dumps(WIDTHS.to_json()))
    assert read_widths(tmp_path) == WIDTHS


def test_widths_are_none_where_the_run_has_none(tmp_path):
    assert read_widths(tmp_path) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("widths", [9, 1]), ("widths", [0, 1]), ("widths", [8]), ("criteria", [7, 0]), ("criteria", [0])],
)
def test_widths_that_can_be_none_are_refused(key, value):
    document = WIDTHS.to_json()
    document["networks"]["a"][key] = value
    with pytest.raises((ValueError, LookupError)):
        Widths.from_json(document)


def test_file_that_is_no_json_is_damaged(tmp_path):
    (tmp_path / "widths.json").write_text("{")
    with pytest.raises(StoreCorruptedError, match=r"widths\.json"):
        read_widths(tmp_path)
