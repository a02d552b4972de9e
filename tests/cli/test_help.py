"""Help, examples in it, and what a shell completes."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from evoprune.cli.app import COMMANDS, app
from evoprune.cli.completion import recipe_names
from evoprune.cli.options import EXAMPLES

LINES = [(name, line) for name, lines in EXAMPLES.items() for line in lines]


def options_of(command):
    return set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, [command, "--help"]).output))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_ends_with_examples(command):
    done = CliRunner().invoke(app, [command, "-h"])
    assert done.exit_code == 0
    assert f"evoprune {command}" in done.output.partition("Examples:")[2]
    assert "\x1b" not in done.output


@pytest.mark.parametrize(("command", "line"), LINES, ids=[line for _, line in LINES])
def test_example_has_options_that_exist(command, line):
    program, name, *arguments = shlex.split(line)
    assert program == "evoprune"
    assert {one for one in arguments if one.startswith("--")} <= options_of(name)
    assert name == command or command == "init"


def test_every_command_is_listed_with_a_line_that_fits():
    shown = CliRunner().invoke(app, ["--help"]).output
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.MULTILINE)


def test_help_is_shown_by_itself_and_by_its_short_option(evoprune):
    assert evoprune("-h").out == evoprune("--help").out
    assert evoprune("run", "-h").out == evoprune("run", "--help").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["runn"], "Did you mean 'run'"), (["run", "mnist-cnn", "--sed", "1"], "--seed")],
    ids=["command", "option"],
)
def test_wrong_words_are_met_with_the_right_ones(evoprune, arguments, words):
    done = evoprune(*arguments)
    assert (done.code, words in done.err) == (2, True)


def test_wrong_setting_is_met_with_the_right_one(evoprune):
    done = evoprune("run", "mnist-cnn", "--set", "ga.popsize=3", "--set", "ga.finetune_lr=1")
    assert done.code == 2
    assert "did you mean ga.pop_size?" in done.err
    assert "did you mean training.finetune_lr?" in done.err


def test_recipes_are_completed():
    assert recipe_names("lenet5-t") == ["lenet5-tanh-mnist"]
    assert "mnist-cnn" in recipe_names("")


def test_completion_can_be_installed(evoprune):
    assert "--install-completion" in evoprune("--help").out


def test_shell_is_offered_commands_and_recipes():
    program = "import sys; sys.argv = ['evoprune']; from evoprune.cli.app import main; main()"

    def offered(words):
        environment = {
            **os.environ,
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            "_EVOPRUNE_COMPLETE": "complete_bash",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout.split()

    assert offered("evoprune fin") == ["finish", "finetune"]
    assert offered("evoprune run lenet5-t") == ["lenet5-tanh-mnist"]
