"""Names of layers, methods and steps mean nothing to a figure, a table or a page."""

import json
import warnings

import pytest
from matplotlib.text import Text

from evoprune.errors import StoreCorruptedError
from evoprune.report.canvas import plain, save_figure
from evoprune.report.summary import MethodRow, method_table
from evoprune.report.writer import draw_figures
from evoprune.store.comparison import read_comparison
from tests.report.mask_runs import MaskRun

HOSTILE = (
    r"$\frac{",
    "$x^2$",
    "a$b",
    r"\$",
    "[bold red]conv[/]",
    "<script>alert(1)</script>",
    "a\nb\tc",
    "\x1b]0;title\x07",
    "\u202egnol",
    "\ud800",
    "x" * 5000,
    "",
)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "layers", "independent"])
def test_figures_are_drawn_whatever_layers_are_called(tmp_path, mode):
    run = MaskRun(dict.fromkeys(HOSTILE, 100), mode=mode, goals=(0.5, 0.8), generations=2, candidates=2)
    run.write(tmp_path)
    for name, figure in draw_figures(tmp_path).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fonts that lack a character
            save_figure(figure, tmp_path / name)
        assert not [text for text in figure.findobj(Text) if "x" * 61 in text.get_text() or "\x1b" in text.get_text()]


@pytest.mark.parametrize("name", HOSTILE)
def test_plain_begins_no_formula(name):
    from matplotlib.figure import Figure

    text = Figure().text(0, 0, plain(name))
    shown, is_formula = text._preprocess_math(text.get_text())
    assert not is_formula
    assert shown == plain(name).replace(r"\$", "$")


def test_method_table_gives_names_no_meaning():
    table = method_table([MethodRow(name, 0.5, 1, 2, 0.5) for name in HOSTILE])
    rows = table.splitlines()
    assert len(rows) == 2 + len(HOSTILE)
    assert "<" not in table
    assert {row.replace(r"\|", "").count("|") for row in rows} == {6}
    assert r"\$x^2\$" in table


@pytest.mark.parametrize(
    "change",
    [
        {"baseline": None},
        {"pruned": []},
        {"pruned": {"accuracy": "high", "params": 3}},
        {"pruned": {"accuracy": float("nan"), "params": 3}},
        {"layers": [{"layer": 3}]},
        {"layers": 3},
        {"steps": ["a"]},
        {"front": [1]},
    ],
    ids=str,
)
def test_read_comparison_refuses_what_no_table_can_show(tmp_path, change):
    MaskRun(generations=1).write(tmp_path)
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StoreCorruptedError, match=r"comparison\.json is damaged"):
        read_comparison(tmp_path)


def test_draw_figures_refuses_a_journal_that_lacks_what_is_drawn(tmp_path):
    MaskRun(generations=1).write(tmp_path)
    (tmp_path / "evaluations.jsonl").write_text("{}\n[]\n")
    with pytest.raises(StoreCorruptedError, match="is damaged"):
        draw_figures(tmp_path)
