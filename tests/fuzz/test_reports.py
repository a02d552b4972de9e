"""A finished run in which one file was changed: its page says what the file says, or an error says which is damaged."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.errors import EvopruneError
from evoprune.report.html.page import page_of
from tests.fuzz.damage import damaged_bytes, damaged_documents
from tests.report.channel_runs import ChannelRun
from tests.report.mask_runs import MaskRun
from tests.report.pages import Page

RUNS = {
    "channels": lambda: ChannelRun(candidates=5, generations=3, failures=1),
    "masks": lambda: MaskRun(goals=(0.5, 0.9), generations=2, candidates=2),
    "independent": lambda: MaskRun(mode="independent", goals=(0.5,), generations=2),
}
FEW = 25
MANY = pytest.param(400, marks=pytest.mark.slow)


@st.composite
def changed_files(draw, directory):
    """`(file, bytes)`: what to put in its place."""
    name = draw(st.sampled_from(sorted(path.name for path in directory.iterdir())))
    content = (directory / name).read_bytes()
    if name.endswith(".json") and draw(st.booleans()):
        return name, json.dumps(draw(damaged_documents(json.loads(content)))).encode()
    if name.endswith(".jsonl") and draw(st.booleans()):
        lines = draw(damaged_documents([json.loads(line) for line in content.splitlines()]))
        lines = lines if isinstance(lines, list) else [lines]
        return name, "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    return name, draw(damaged_bytes(content))


def outcome(directory):
    """The page, or what is said instead."""
    try:
        return page_of(directory), ""
    except EvopruneError as error:
        return None, error.message


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("kind", RUNS)
def test_page_is_one_or_says_what_is_damaged_whatever_a_file_holds(tmp_path, kind, count):
    directory = RUNS[kind]().write(tmp_path / "run")

    @settings(max_examples=count, deadline=None)
    @given(changed_files(directory))
    def never_anything_else(change):
        name, content = change
        whole = (directory / name).read_bytes()
        (directory / name).write_bytes(content)
        page, message = outcome(directory)
        (directory / name).write_bytes(whole)
        if page is None:
            assert str(directory) in message
        else:
            assert Page(page).elements.count("script") == 2

    never_anything_else()
