import dataclasses

from evoprune.results import ModelReport, Status

FIGURES = {
    field.name: number
    for number, field in enumerate(dataclasses.fields(ModelReport))
    if field.name not in ("uncounted", "others", "each")
}


def test_report_gives_its_figures_by_name():
    assert ModelReport(**FIGURES).to_json() == FIGURES
    assert ModelReport(**FIGURES, others={"loss": 0.5}).to_json() == {**FIGURES, "loss": 0.5}


def test_report_leaves_out_what_was_not_measured():
    written = ModelReport(**{**FIGURES, "latency_ms": None}).to_json()
    assert written.keys() == FIGURES.keys() - {"latency_ms"}


def test_status_is_written_as_its_word():
    assert [f"{status}" for status in Status] == ["ok", "failed", "infeasible"]
    assert Status("failed") is Status.FAILED
