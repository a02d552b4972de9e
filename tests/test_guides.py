"""The guides run: every Python block of a page, from top to bottom, in one namespace."""

import re
from pathlib import Path

import pytest

from evoprune.space import attributes

GUIDES = Path(__file__).parents[1] / "docs/guide"
PAGES = ["analysis"]


@pytest.fixture
def own_names():
    """Takes back what a page adds to the sets of attribute names."""
    sets = [attributes.HEAD_COUNTS, attributes.HEAD_SIZES, attributes.HEAD_WIDTHS, attributes.WIDTHS]
    before = [set(names) for names in sets]
    yield
    for names, known in zip(sets, before, strict=True):
        names.intersection_update(known)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.jit")
def test_code_of_a_guide_runs_as_printed(page, seeded_torch, own_names):
    text = (GUIDES / f"{page}.md").read_text()
    namespace = {"__name__": f"guide_{page}"}
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        above = "\n" * text.count("\n", 0, match.start(1))  # so that a traceback gives the page's own lines
        exec(compile(above + match[1], f"docs/guide/{page}.md", "exec"), namespace)
    assert len(namespace) > 2
