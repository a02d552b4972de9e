"""`evoprune report`, and `--open`."""

import re
import shlex
import webbrowser

import pytest

from tests.cli.conftest import TINY, settings
from tests.report.channel_runs import ChannelRun
from tests.report.pages import Page


@pytest.fixture
def made(tmp_path):
    return ChannelRun().write(tmp_path / "made")


@pytest.fixture
def opened(monkeypatch):
    """Addresses that a browser was asked for."""
    found = []
    monkeypatch.setattr(webbrowser, "open", lambda address: found.append(address) or True)
    return found


def test_report_writes_page_and_figures_again(evoprune, made, opened):
    done = evoprune("report", made)
    assert (done.code, done.out.strip()) == (0, f"the report is in {made}/report.html")
    assert {"report.html", "ga_fitness_evolution.png", "pareto_front.png"} <= {one.name for one in made.iterdir()}
    assert opened == []


def test_report_opens_the_page_when_asked(evoprune, made, opened):
    assert evoprune("report", made, "--open").code == 0
    assert opened == [(made / "report.html").resolve().as_uri()]


@pytest.mark.parametrize("answer", [lambda address: False, lambda address: (_ for _ in ()).throw(webbrowser.Error)])
def test_report_says_where_the_page_is_when_there_is_no_browser(evoprune, made, monkeypatch, answer):
    monkeypatch.setattr(webbrowser, "open", answer)
    done = evoprune("report", made, "--open")
    assert done.code == 0
    assert done.err == f"no browser was found here; open {made.resolve()}/report.html in one\n"


def test_report_of_an_unfinished_run_is_refused_in_two_lines(evoprune, made):
    (made / "comparison.json").unlink()
    done = evoprune("report", made)
    assert done.code == 2
    assert done.err.splitlines() == [
        f"error: {made} holds no finished run: it has no comparison.json",
        f"hint: finish it first: evoprune resume {made}",
    ]


def test_report_of_a_directory_without_a_run_is_refused_in_two_lines(evoprune, tmp_path):
    done = evoprune("report", tmp_path / "nowhere")
    assert done.code == 2
    assert done.err.splitlines()[1] == "hint: name the directory of one"


def test_report_of_a_damaged_run_is_refused_in_two_lines(evoprune, made):
    (made / "widths.json").write_text("{}")
    done = evoprune("report", made)
    assert done.code == 1
    assert done.err.startswith(f"error: {made}/widths.json is damaged: ")
    assert len(done.err.splitlines()) == 2


def test_the_command_in_the_page_makes_the_same_run_again(evoprune, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evoprune("run", TINY, "--out", "runs/first", "--seed", "5", *settings()).code == 0
    text = Page((tmp_path / "runs/first/report.html").read_text()).text
    command = re.findall(r"evoprune (run runs/first/config\.yaml --out runs/again)", text)[0]
    done = evoprune(*shlex.split(command))
    assert done.code == 0, done.err
    first, again = ((tmp_path / "runs" / name / "evaluations.jsonl").read_bytes() for name in ("first", "again"))
    assert first == again


def test_run_writes_its_report_and_opens_it(evoprune, tmp_path, opened):
    out = tmp_path / "run"
    done = evoprune("run", TINY, "--out", out, *settings("search.round_to=1"), "--open")
    assert done.code == 0, done.err
    page = (out / "report.html").read_text()
    assert 'id="widths"' in page
    assert 'id="fitness"' in page
    assert opened == [(out / "report.html").resolve().as_uri()]
    assert "the report as report.html" in done.out
