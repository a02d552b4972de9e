"""What a run directory of evolved masks says: its course, for the peers to follow, and its figures."""

import json
import math
import statistics
from pathlib import Path

from course import Course, Level

from evoprune.evaluation.recovery import Fidelity
from evoprune.run.factories.common import training_plan
from evoprune.run.factories.stored import recipe_source, stored_config

# Stages that every method needs, or none but a run that is kept.
NOT_THE_METHOD = ("data", "baseline", "report")


def course_of(directory: Path) -> Course:
    """Levels, steps and schedule of a finished run; steps that candidates learnt count as the level's."""
    config, comparison = stored_config(directory), read(directory / "comparison.json")
    task = recipe_source(config).load().task
    training, plan, both = config.training, training_plan(config), task.train.joined(task.select)
    epochs_of = {False: config.masks.retrain_epochs, True: config.masks.between_epochs}
    schedules = {between: plan.retraining.over(task.train, epochs) for between, epochs in epochs_of.items()}
    final = plan.retraining.over(both, training.retrain_epochs)
    fidelity = plan.fidelity(task.train)
    weights = sum(layer["weights"] for layer in comparison["layers"])
    batches = task.train.batch_count(training.batch_size)
    epochs = sum(math.ceil(schedules[step["between"]].steps / batches) for step in comparison["steps"])
    check_epochs(directory, epochs + math.ceil(final.steps / both.batch_count(training.batch_size)))
    levels = [
        Level(
            # Guards can make a network a weight or two less sparse than its goal.
            kept=round((1 - (step["goal"] or step["sparsity"])) * weights),
            weights=weights,
            steps=schedules[step["between"]].steps + candidate_steps(fidelity, step),
        )
        for step in comparison["steps"]
    ]
    return Course(
        levels=tuple(levels),
        schedule=schedules[False],
        final_steps=final.steps,
        threads=config.execution.training_threads,
        channels_last=config.execution.channels_last,
        fisher_samples=config.masks.fisher_samples,
        select_size=len(task.select),
    )


def candidate_steps(fidelity: Fidelity, step: dict) -> int:
    return fidelity.schedule.steps * step["evaluations"]


def check_epochs(directory: Path, expected: int) -> None:
    """See that the run trained for so many epochs, begun ones counted whole; not where it was stopped and resumed."""
    events = read_lines(directory / "events.jsonl")
    if sum(event["event"] == "RunStarted" for event in events) > 1:
        return
    found = sum(event["event"] == "EpochEnded" and event["stage"] != "baseline" for event in events)
    if found != expected:
        raise SystemExit(f"{directory} retrained for {found} epochs, but its settings make {expected}")


def figures_of(directory: Path, course: Course) -> dict:
    """Accuracy on test and cost of a finished run."""
    comparison, events = read(directory / "comparison.json"), read_lines(directory / "events.jsonl")
    points, steps = [], 0
    for level, step in zip(course.levels, comparison["steps"], strict=True):
        steps += level.steps
        points.append(
            {"sparsity": step["sparsity"], "select_accuracy": step["select_accuracy"],
             "steps": steps, "accuracy": step["accuracy"]}
        )  # fmt: skip
    stages = [event for event in events if event["event"] == "StageEnded" and event["stage"] not in NOT_THE_METHOD]
    costs = [event["cost"]["cpu_s"] for event in events if event["event"] == "CandidateEvaluated" and event["cost"]]
    manifest = read(directory / "manifest.json")
    return {
        "wall_s": round(sum(event["wall_s"] for event in events if event["event"] == "RunEnded"), 1),
        "cpu_s": round(sum(event["cpu_s"] for event in stages), 1),
        "candidates": len(costs),
        "images": stored_config(directory).fidelity.select_samples or course.select_size,
        "candidate_cpu_s": statistics.median(costs) if costs else None,
        "test_set_reads": manifest["test_set_reads"],
        "dense_accuracy": comparison["baseline"]["accuracy"],
        "points": points,
        "final": {key: comparison["pruned"][key] for key in ("accuracy", "sparsity")} if course.final_steps else None,
    }


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
