import json

import pytest


def test_resume_shows_the_table_when_the_run_is_done(evoprune, finished):
    done = evoprune("resume", finished)
    assert (done.code, done.err) == (0, "")
    assert "already done" in done.out
    assert "test accuracy" in done.out


@pytest.mark.parametrize("content", [{}, {"notes.txt": "hello"}, {"config.yaml": "recipe: null\n"}], ids=str)
def test_resume_refuses_what_is_no_run_of_a_recipe(evoprune, tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    done = evoprune("resume", tmp_path)
    assert done.code == 2
    assert str(tmp_path) in done.err
    assert {path.name for path in tmp_path.iterdir()} == content.keys()


def test_resume_refuses_a_directory_that_does_not_exist(evoprune, tmp_path):
    done = evoprune("resume", tmp_path / "gone")
    assert done.code == 2
    assert "is not a run directory" in done.err
    assert not (tmp_path / "gone").exists()


@pytest.mark.slow
def test_resume_names_the_damaged_line_when_the_journal_is_damaged(evoprune, finished):
    journal = finished / "evaluations.jsonl"
    damaged = journal.read_bytes().replace(b'"status":"ok"', b'"status":"??"', 1)
    journal.write_bytes(damaged)
    done = evoprune("resume", finished)
    assert done.code == 1
    assert "line 1, is damaged" in done.err
    assert journal.read_bytes() == damaged


@pytest.mark.slow
def test_resume_refuses_a_configuration_that_was_edited(evoprune, finished):
    path = finished / "config.yaml"
    path.write_text(path.read_text().replace("pop_size: 4", "pop_size: 6"))
    done = evoprune("resume", finished)
    assert done.code == 2
    assert "ga.pop_size: 4 there, 6 here" in done.err


@pytest.mark.slow
def test_resume_says_so_when_a_newer_version_wrote_the_run(evoprune, finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    (finished / "manifest.json").write_text(json.dumps({**manifest, "format": 99, "evoprune": "7.0"}))
    done = evoprune("resume", finished)
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert "was written by a newer evoprune, 7.0: its manifest has format 99" in done.err
    assert "use that version" in done.err


@pytest.mark.slow
def test_resume_says_which_version_knows_the_settings_that_it_does_not(evoprune, finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    (finished / "manifest.json").write_text(json.dumps({**manifest, "evoprune": "7.0"}))
    path = finished / "config.yaml"
    path.write_text(path.read_text() + "dreams: {electric: true}\n")
    done = evoprune("resume", finished)
    assert done.code == 2
    assert "was written by evoprune 7.0, this is" in done.err
    assert "dreams" in done.err
