import pytest
from rich.console import Console as RichConsole

from evoprune.cli.console import Console
from evoprune.cli.inspection_tables import new_table
from evoprune.display.printable import printable
from evoprune.events import DataProgress, Decision, StageStarted
from tests.cli.conftest import settings

HOSTILE = "\x1b]0;title\x07[bold]\ud800\u202e\r\x9b"
SHOWN = r"\x1b]0;title\x07[bold]\ud800\u202e\r\x9b"


@pytest.mark.parametrize("text", ["plain", "a\nb\tc", "größer als 5 µm", "卷积", ""])
def test_printable_leaves_text_as_it_is(text):
    assert printable(text) == text


def test_printable_writes_what_would_steer_a_terminal_as_its_code():
    assert printable(HOSTILE) == SHOWN


@pytest.mark.parametrize("terminal", [False, True])
def test_console_shows_events_as_text_alone(terminal, tmp_path):
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        console = Console(RichConsole(file=file, width=300, force_terminal=terminal, highlight=False))
        with console:
            for event in (
                Decision(HOSTILE, HOSTILE),
                StageStarted("search", HOSTILE),
                DataProgress(HOSTILE, HOSTILE, 1, 2),
            ):
                console(event)
    written = (tmp_path / "out").read_text(encoding="utf-8")
    assert f"{SHOWN}: {SHOWN}" in written
    assert "\x1b]0;" not in written
    assert "\x9b" not in written


def test_table_titles_are_text_alone():
    assert new_table(HOSTILE, ["a"]).title.plain == SHOWN


def test_console_shows_headings_as_text_alone(tmp_path):
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        Console(RichConsole(file=file, width=300)).show_rows(HOSTILE, [HOSTILE, "macs"], [["1", "2"]])
    written = (tmp_path / "out").read_text(encoding="utf-8")
    assert written.count(SHOWN) == 2
    assert "\x1b" not in written


def test_command_line_shows_errors_as_text_alone(evoprune):
    done = evoprune("run", "no_such\x1b[31m:thing")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert r"\x1b[31m" in done.err


def check_shown(done, *, names=True):
    written = done.out + done.err
    assert not [one for one in written if not (one.isprintable() or one == "\n")]
    assert not names or r"[red]b\x1b[31mX" in written.replace("\n", "")


def test_commands_show_names_of_networks_as_text_alone(evoprune, tmp_path, monkeypatch, seeded_torch):
    monkeypatch.setenv("COLUMNS", "250")
    recipe, masked = "tests.cli.hostile:recipe", tmp_path / "masked"
    goals = settings("search.encoding=keep-ratios", "masks.goals=[0.5]", "masks.min_class_accuracy=0")
    for command in (
        ("run", recipe, "--workers", 1, "--out", masked, *goals),
        ("resume", masked),
        ("finetune", masked, "--epochs", 0),
        ("layers", recipe),
        ("inspect", recipe),
    ):
        done = evoprune(*command)
        assert done.code == 0, done.err
        check_shown(done, names=command[0] != "finetune")
    assert {path.parent for path in masked.rglob("*.safetensors")} >= {masked / "solutions", masked / "artifact"}
    assert {path.name for path in tmp_path.parent.iterdir() if "pwn" in path.name} == set()
    assert len(list((masked / "solutions").iterdir())) == 3


def test_command_line_shows_what_a_recipe_raises_as_text_alone(evoprune, tmp_path):
    done = evoprune("run", "tests.cli.hostile:failing", "--out", tmp_path / "run")
    assert done.code != 0
    check_shown(done)
