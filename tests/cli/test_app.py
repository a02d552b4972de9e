import pytest

import evoprune as package


def test_version_is_printed(evoprune):
    assert evoprune("--version").out.strip() == package.__version__


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["resume", "--help"], ["recipes", "--help"]], ids=" ".join
)
def test_help_is_shown(evoprune, arguments):
    done = evoprune(*arguments)
    assert (done.code, done.err) == (0, "")
    assert "Usage" in done.out


@pytest.mark.parametrize(
    "arguments", [["sing"], ["run"], ["run", "x", "--loud"], ["run", "x", "--seed", "one"]], ids=" ".join
)
def test_exit_code_is_two_when_the_command_line_is_wrong(evoprune, arguments):
    done = evoprune(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_recipes_lists_what_can_be_run_by_name(evoprune):
    done = evoprune("recipes")
    assert done.code == 0
    assert "mnist-cnn" in done.out
