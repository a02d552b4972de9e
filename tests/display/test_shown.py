import warnings

import pytest

import evoprune as ep
from evoprune.display.notebook import NotebookProgress
from evoprune.display.shown import shown
from evoprune.display.terminal import TerminalProgress
from evoprune.events import Caution, ignore, warn
from evoprune.testing.tiny import tiny_recipe

SMALL = {
    "ga": {"pop_size": 2, "num_generations": 1, "elitism": 0},
    "training": {"retrain_epochs": 0, "finetune_steps": 1},
    "execution": {"training_threads": 1, "isolation": "none"},
}


class Shows:
    shows_progress = True

    def __call__(self, event):
        pass


def kinds(listeners, **options):
    with shown(listeners, **options) as told:
        return [type(one) for one in told]


def test_terminal_is_used_outside_of_notebooks():
    assert kinds([], progress=True) == [TerminalProgress]


def test_notebook_is_used_where_there_is_one(monkeypatch):
    monkeypatch.setattr("evoprune.display.shown.in_notebook", lambda: True)
    assert kinds([], progress=True) == [NotebookProgress]


def test_listener_that_shows_runs_itself_is_left_alone_with_it():
    assert kinds([Shows()], progress=True) == [Shows]


def test_cautions_are_warnings_where_nothing_is_shown_and_nobody_listens(capsys):
    with shown([], progress=False) as told:
        assert told == (warn,)
        with pytest.warns(UserWarning, match="near chance"):
            told[0](Caution("scores", "near chance"))
    with shown([ignore], progress=False) as told:
        assert told == (ignore,)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_evolve_shows_itself_on_standard_error_unless_told_not_to(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    ep.evolve(*tiny_recipe(), config=SMALL, out=tmp_path / "shown")
    written = capfd.readouterr()
    assert written.out == ""
    assert "generation 0: best fitness" in written.err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ep.evolve(*tiny_recipe(), config=SMALL, out=tmp_path / "silent", progress=False)
    assert capfd.readouterr() == ("", "")
