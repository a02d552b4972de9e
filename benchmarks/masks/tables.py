"""Tables of the benchmark's results in Markdown, and their place in the README."""

import statistics
from pathlib import Path

from course import FINAL, STOPS

START, END = "<!-- results: written by run.py -->", "<!-- end of results -->"
LABELS = {
    "evolved": "**evolved**",
    "evolved-no-rule": "evolved, no rule (`seeding: none`)",
    "lamp": "iterative LAMP",
    "magnitude": "iterative global magnitude",
    "root-fisher": "iterative w²√F",
    "fisher": "iterative w²F",
    "random-once": "random mask at once, as many steps",
}


def tables(results: dict) -> str:
    parts = [about(results), accuracies(results), paired(results), costs(results)]
    return "\n\n".join(part for part in parts if part)


def about(results: dict) -> str:
    course, machine = results["course"], results["machine"]
    schedule = course["schedule"]
    return (
        f"{results['date']}, {machine}, {results['threads']}; "
        f"{', '.join(f'{name} {version}' for name, version in results['versions'].items())}; `{results['command']}`. "
        f"Dense network: {100 * results['dense_accuracy']:.2f} %. Every method: {course['total_steps']:,} training steps of "
        f"{schedule['batch_size']} images over {len(course['levels'])} levels, {schedule['optimizer']}, peak rate "
        f"{schedule['lr']:g}, weight decay {schedule['weight_decay']:g}, warm-up {schedule['warmup']:.0%} of a level"
        + (
            f"; the last {course['final_steps']:,} on train and select together, in the end."
            if course["final_steps"]
            else "."
        )
    )


def accuracies(results: dict) -> str:
    found = {stop for runs in results["methods"].values() for run in runs.values() for stop in run["accuracy"]}
    stops = [stop for stop in STOPS if stop in found]
    rows = ["| test accuracy, %: mean (lowest to highest) | seeds | " + " | ".join(map(heading, stops)) + " |"]
    rows.append("|---|--:|" + "--:|" * len(stops))
    for method, label in LABELS.items():
        runs = results["methods"].get(method, {})
        if runs:
            cells = [cell([run["accuracy"][key] for run in runs.values() if key in run["accuracy"]]) for key in stops]
            rows.append(f"| {label} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def paired(results: dict) -> str:
    if not results["differences"]:
        return ""
    rows = [
        "| sparsity | best peer | evolved - best peer, points | 95 % interval | promised | |",
        "|--:|---|--:|--:|--:|---|",
    ]
    for row in results["differences"]:
        reach = row["interval"]
        shown = "one seed" if reach is None else f"{reach[0]:+.2f} to {reach[1]:+.2f}"
        promised = "-" if row["bound"] is None else f"above {row['bound']:+.2f}"
        verdict = {True: "held", False: "MISSED", None: ""}[row["held"]]
        rows.append(
            f"| {heading(row['stop'])} | {LABELS[row['best_peer']]} | {row['mean']:+.2f} | {shown} "
            f"| {promised} | {verdict} |"
        )
    return "\n".join(rows)


def costs(results: dict) -> str:
    rows = [
        "| method | CPU s, whole run (median of seeds) | wall s | candidates | images each | CPU ms per candidate |"
    ]
    rows.append("|---|--:|--:|--:|--:|--:|")
    for method, label in LABELS.items():
        runs = list(results["methods"].get(method, {}).values())
        if runs:
            took = f"| {label} | {middle(runs, 'cpu_s'):.0f} | {middle(runs, 'wall_s'):.0f} "
            each = middle(runs, "candidate_cpu_s")
            rows.append(took + ("| - | - | - |" if each is None else candidates(runs, each)))
    for naive in results["naive"]:
        each = 1000 * naive["cpu_s"]
        rows.append(
            f"| naive script, {threads(naive)} | - | - | {naive['candidates']} | {naive['images']:,} | {each:.0f} |"
        )
    return "\n".join([*rows, "", ratios(results)])


def ratios(results: dict) -> str:
    """What a candidate of evoprune costs against one of the naive script, in words."""
    runs = list(results["methods"]["evolved"].values())
    mine, images = middle(runs, "candidate_cpu_s"), middle(runs, "images")
    parts = [
        f"{naive['cpu_s'] / mine:.1f} times less than the naive script's with {threads(naive)} "
        f"({naive['cpu_s'] / naive['images'] * images / mine:.1f} times less for each image)"
        for naive in results["naive"]
    ]
    return f"CPU time of a candidate: {', '.join(parts)}."


def threads(naive: dict) -> str:
    return f"{naive['threads']} thread{'s' if naive['threads'] > 1 else ''}"


def candidates(runs: list[dict], cpu_s: float) -> str:
    return f"| {middle(runs, 'candidates'):,.0f} | {middle(runs, 'images'):,.0f} | {1000 * cpu_s:.1f} |"


def middle(runs: list[dict], key: str) -> float | None:
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def cell(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{100 * statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.2f} to {100 * max(values):.2f})"


def heading(stop: str) -> str:
    return "in the end" if stop == FINAL else f"{100 * float(stop):g} %"


def write_between_markers(path: Path, text: str) -> None:
    before, _, rest = path.read_text().partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
