import io

from rich.console import Console

from evoprune.display.terminal import TerminalProgress
from evoprune.events import Caution, Decision, GenerationStarted


def written(*, terminal=False, **options):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, highlight=False)
    with TerminalProgress(console, **options) as progress:
        for event in (GenerationStarted(0, 3, 4), Decision("layout", "plain"), Caution("scores", "near chance")):
            progress(event)
        progress(GenerationStarted(1, 3, 4))
    return file.getvalue()


def test_lines_are_plain_where_there_is_no_terminal():
    text = written()
    assert "\x1b" not in text
    assert [line.partition("] ")[2] for line in text.splitlines()] == ["layout: plain", "scores: near chance"]


def test_bars_are_drawn_in_a_terminal_and_cautions_in_red():
    text = written(terminal=True)
    assert "generation 2 of 3" in text
    assert "\x1b[1;31m" in text


def test_quiet_shows_cautions_alone():
    assert [line.partition("] ")[2] for line in written(quiet=True).splitlines()] == ["scores: near chance"]


def test_clock_of_a_generation_begins_anew_with_each():
    console = Console(file=io.StringIO(), force_terminal=True)
    progress = TerminalProgress(console)
    clock = [0.0]
    progress._progress.get_time = lambda: clock[0]
    with progress:
        progress(GenerationStarted(0, 3, 4))
        clock[0] = 50.0
        progress(GenerationStarted(1, 3, 4))
        clock[0] = 53.0
        elapsed = {task.description: task.elapsed for task in progress._progress.tasks}
    assert elapsed["generation 2 of 3"] == 3.0
    assert elapsed["search"] == 53.0
