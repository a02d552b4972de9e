"""An inheriting population of LeNet-5's masks against iterative pruning by w^2 F^(1/2), at equal compute.

    python benchmarks/masks/population.py --out runs/bench-population

For each seed: `evoprune run population.yaml`; iterative w^2 F^(1/2) with as many training steps at each level as all members have
together; and as many independent restarts of it as there are members, of which select chooses one at each milestone. What is
finished in the output directory is not done again. Writes `population.json` and prints its tables.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from course import Course, Level, last_at_milestones
from paired import interval
from peers import run_method

from evoprune.config.recipes import resolve_recipe_config
from evoprune.config.yaml_files import parse_overrides, read_config
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.threads import thread_environment, torch_threads
from evoprune.recipes.lenet5 import lenet5_mnist
from evoprune.run.factories.common import training_plan
from evoprune.run.factories.masks import mask_schedule
from evoprune.run.mask_schedule import passes

HERE = Path(__file__).parent
CONFIG = HERE / "population.yaml"
RULE = "root-fisher"
MILESTONES = ("0.9", "0.95", "0.98", "0.99")


def main() -> None:
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        population(seed, args)
        course, members = course_of(args)
        with torch_threads(1):
            for number in range(members):
                peer(f"restart-{number}", course, 1000 * (number + 1) + seed, args, key=seed)
            if seed < args.longer_seeds:
                peer("longer", stretched(course, members), seed, args)
    document = collected(args)
    (args.out / "population.json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(document))


def population(seed, args):
    directory = args.out / f"population-{seed}"
    if (directory / "comparison.json").exists():
        return
    flags = [part for one in args.set for part in ("--set", one)]
    command = [
        sys.executable,
        "-m",
        "evoprune",
        "run",
        str(CONFIG),
        "--seed",
        str(seed),
        "--out",
        str(directory),
        "--workers",
        "1",
        *flags,
    ]
    subprocess.run(command, check=True, env={**os.environ, **thread_environment(1)})


def course_of(args):
    """The course of one member, and the number of members."""
    config = resolve_recipe_config(None, read_config(CONFIG), parse_overrides(args.set))
    model, task, _ = lenet5_mnist()
    size, learning = sum(one.size for one in maskable_weights(model)), training_plan(config).retraining
    schedule, masks = mask_schedule(config), config.masks
    levels = tuple(
        Level(
            round((1 - goal) * size),
            size,
            learning.over(task.train, masks.between_epochs if between else masks.retrain_epochs).steps,
        )
        for goal, between in passes(schedule.goals, schedule.between)
    )
    course = Course(levels, learning.over(task.train, 1), 0, 1, True, masks.fisher_samples, len(task.select))
    return course, config.ga.pop_size


def stretched(course, times):
    return replace(course, levels=tuple(replace(level, steps=level.steps * times) for level in course.levels))


def peer(name, course, seed, args, key=None):
    path = args.out / f"{name}-{seed if key is None else key}.json"
    if not path.exists():
        document = run_method(course, RULE, seed, lenet5_mnist(select_size=course.select_size))
        path.write_text(json.dumps(document, indent=1) + "\n")


def collected(args):
    """`{method: {seed: {milestone: test accuracy}}}`, CPU seconds, and the paired differences at each milestone."""
    curves, cpu = {"population": {}, "longer": {}, "restarts": {}}, {"population": {}, "longer": {}, "restarts": {}}
    for seed in range(args.seeds):
        directory = args.out / f"population-{seed}"
        comparison = json.loads((directory / "comparison.json").read_text())
        events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
        curves["population"][seed] = by_milestone(comparison["steps"])
        cpu["population"][seed] = sum(
            one["cost"]["cpu_s"] for one in events if one["event"] == "CandidateEvaluated" and one["cost"]
        )
        path = args.out / f"longer-{seed}.json"
        if path.exists():
            longer = json.loads(path.read_text())["points"]
            curves["longer"][seed], cpu["longer"][seed] = by_milestone(longer), longer[-1]["cpu_s"]
        restarts = [json.loads(path.read_text()) for path in sorted(args.out.glob(f"restart-*-{seed}.json"))]
        found = [last_at_milestones(one["points"]) for one in restarts]
        curves["restarts"][seed] = {
            str(stop): max((one[stop] for one in found), key=lambda point: point["select_accuracy"])["accuracy"]
            for stop in found[0]
        }
        cpu["restarts"][seed] = sum(one["points"][-1]["cpu_s"] for one in restarts)
    differences = {
        f"{stop}, {other}": [
            100 * (curves["population"][seed][stop] - theirs[stop]) for seed, theirs in curves[other].items()
        ]
        for stop in MILESTONES
        for other in ("restarts", "longer")
        if curves[other]
    }
    return {"accuracy": curves, "cpu_s": cpu, "differences": differences, "settings": args.set}


def by_milestone(points):
    return {str(stop): point["accuracy"] for stop, point in last_at_milestones(points).items()}


def table(document):
    lines = ["| test accuracy, %: mean of seeds | " + " | ".join(MILESTONES) + " | CPU s |", "|---|" + "--:|" * 5]
    for method, by_seed in document["accuracy"].items():
        if not by_seed:
            continue
        cells = [f"{100 * statistics.mean(one[stop] for one in by_seed.values()):.2f}" for stop in MILESTONES]
        seconds = statistics.mean(document["cpu_s"][method].values())
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    lines += ["", "| population - ... | mean, points | 95 % interval | seeds |", "|---|--:|--:|--:|"]
    for name, values in document["differences"].items():
        bounds = interval(values)
        text = "-" if bounds is None else f"{bounds[0]:+.2f} to {bounds[1]:+.2f}"
        lines.append(f"| {name} | {statistics.mean(values):+.2f} | {text} | {len(values)} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench-population"), help="a directory, new or to go on in"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longer-seeds", type=int, default=3, help="seeds of the longer training")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings over those of population.yaml"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
