"""Times at the end of a run: a pass that fewer MACs made no faster is red, and the reason below it."""

import io

from rich.console import Console as RichConsole

from evoprune.cli.console import Console
from tests.report.test_timing_rows import FAST, SLOW, compared

RED = "\x1b[1;31m"


def shown(comparison, tmp_path):
    out = io.StringIO()
    console = Console(RichConsole(file=out, force_terminal=True, width=120, color_system="standard", highlight=False))
    console.show_point(7, comparison, tmp_path)
    return out.getvalue().splitlines()


def test_slow_pass_is_red_and_says_why(tmp_path):
    lines = shown(compared(FAST, SLOW), tmp_path)
    (row,) = [line for line in lines if "onnxruntime" in line and "12.2" in line]
    assert RED in row
    assert not any(RED in line for line in lines if "0.200" in line)
    assert any(RED in line and "fewer MACs, but the time is +2.0 %" in line for line in lines)
    assert any(RED in line and "- launch-bound: 4 times" in line for line in lines)


def test_nothing_is_red_where_time_fell(tmp_path):
    lines = shown(compared(FAST), tmp_path)
    assert any("0.200" in line for line in lines)
    assert not any(RED in line for line in lines)
