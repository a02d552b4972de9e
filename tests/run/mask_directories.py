"""What tests look at in the directory of a mask run."""

import json

from evoprune.data.task import Task
from evoprune.run.problem import LiveSource, Problem
from evoprune.store.artifact import read_artifact_plan
from evoprune.testing.tiny import tiny_recipe

TIMED = ("latency_ms",)


def contents(directory):
    """Every file that the seed alone decides, by name."""
    named = [directory / name for name in ("evaluations.jsonl", "steps.json")]
    paths = [*named, *(directory / "solutions").iterdir(), *(directory / "artifact").iterdir()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(paths)}


def comparison(directory):
    """`comparison.json` without what a clock decides."""
    document = json.loads((directory / "comparison.json").read_text())
    document.pop("timings", None)
    for model in ("baseline", "pruned"):
        document[model] = {key: value for key, value in document[model].items() if key not in TIMED}
    return document


def steps(directory):
    return json.loads((directory / "steps.json").read_text())["steps"]


def journal(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def masks(directory):
    """`{weight name: bool array}` of the artifact."""
    return {name: mask.bools for name, mask in read_artifact_plan(directory / "artifact").masks.items()}


def live(*, model=None, example_inputs=None, **sets):
    """The tiny problem with another model, other sets, loss or metric."""
    dense, task, inputs = tiny_recipe()
    known = {"train": task.train, "val": task.val, "test": task.test}
    return LiveSource(
        Problem(model or dense, Task(**{**known, **sets}), inputs if example_inputs is None else example_inputs)
    )
