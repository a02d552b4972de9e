"""The pages on how to add a part: their code runs as printed, holds its conformance suite, and does its work in a run."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

HOW_TO = Path(__file__).parents[1] / "docs/how-to"
PAGES = {
    "add-an-objective": {"search": {"objectives": ["accuracy", "my_package.objectives:WidestLayer"]}},
    "add-a-criterion": None,
    "add-a-search": {"search": {"algorithm": "my_package.climber:HillClimber"}},
    "add-an-encoding": {"search": {"encoding": "my_package.widths:EighthsOfWidth"}},
    "add-an-evaluator": None,
    "add-an-exporter": None,
    "add-an-executor": {"execution": {"executor": "my_package.threads:ThreadExecutor", "workers": 2}},
}
QUICK = {
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"retrain_epochs": 1, "batch_size": 64, "finetune_steps": 2},
    "execution": {"training_threads": 1, "isolation": "none"},
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a page's module to a package of the test's own, and gives the names of all its blocks."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))

    def write(page):
        text = (HOW_TO / f"{page}.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        path = re.match(r"# (\S+)", blocks[0])[1]
        (tmp_path / "my_package").mkdir()
        (tmp_path / "my_package/__init__.py").touch()
        (tmp_path / path).write_text(blocks[0])
        names = dict(vars(importlib.import_module(path.removesuffix(".py").replace("/", "."))))
        for block in blocks[1:]:
            exec(compile(block, f"docs/how-to/{page}.md", "exec"), names)
        return names

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_page_holds_its_suite(page, written):
    suites = [thing for name, thing in written(page).items() if name.startswith("Test") and inspect.isclass(thing)]
    tests = [getattr(suite(), name) for suite in suites for name in dir(suite) if name.startswith("test_")]
    for test in tests:
        test()
    assert len(tests) >= 4 or page == "add-an-executor"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, settings in PAGES.items() if settings])
def test_part_of_the_page_does_its_work_in_a_run(page, written, tmp_path):
    written(page)
    result = ep.evolve(*tiny_recipe(), config={**QUICK, **merged(PAGES[page])}, out=tmp_path / "run")
    assert result.best.model is not None
    assert len(result.front) >= 1
    if page == "add-an-objective":
        assert all(point.objectives["widest_layer"] <= 8 for point in result.front)


def merged(settings):
    return {section: {**QUICK.get(section, {}), **values} for section, values in settings.items()}


def test_criterion_of_the_page_scores_by_its_path(written):
    written("add-a-criterion")
    model, _, example_inputs = tiny_recipe()
    space = ep.analyze(model, example_inputs)
    scores = ep.importance(model, space, "my_package.criteria:spread")
    assert scores.shape == (space.size,)
    assert scores.std() > 0
