"""The plot and the tables of docs/guide/scaling.md, from the results in this folder.

python benchmarks/scaling/figure.py --figure docs/images/scaling.png
"""

import argparse
import json
from pathlib import Path
from statistics import median

from evoprune.report.canvas import ACCENT, BEST, INK, MUTED, in_percent, new_axes, new_figure

HERE = Path(__file__).parent
COLOURS = {"asynchronous": BEST, "generations": ACCENT}
NAMES = {"asynchronous": "asynchronous", "generations": "generation by generation"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, default=HERE / "scaling.png")
    args = parser.parse_args()
    simulated, real, overhead = (
        json.loads((HERE / f"{one}.json").read_text()) for one in ("simulated", "real", "overhead")
    )
    simulated["rows"] = medians(simulated["rows"])
    draw(simulated["rows"], [row for row in real["rows"] if row["what"] == "sleep"]).savefig(args.figure, dpi=150)
    print(simulated_table(simulated["rows"]), sleep_table(real["rows"]), mnist_table(real["rows"]), sep="\n\n")
    print("\n" + overhead_table(overhead))


def medians(rows: list[dict]) -> list[dict]:
    """One row for all seeds of a number of workers and a mode; the lowest efficiency beside the median one."""
    grouped: dict[tuple, list[dict]] = {}
    for row in rows:
        grouped.setdefault((row["workers"], row["mode"]), []).append(row)
    return [
        {
            **same[0],
            **{name: median(row[name] for row in same) for name, value in same[0].items() if isinstance(value, float)},
            "lowest": min(row["efficiency"] for row in same),
        }
        for same in grouped.values()
    ]


def draw(simulated: list[dict], slept: list[dict]):
    """Efficiency against workers; one or two are real, more of them simulated."""
    figure = new_figure()
    axes = new_axes(figure)
    for mode, colour in COLOURS.items():
        rows = [row for row in simulated if row["mode"] == mode]
        workers, values = [row["workers"] for row in rows], [row["efficiency"] for row in rows]
        axes.plot(workers, values, "-o", color=colour, label=f"{NAMES[mode]}, simulated", linewidth=2, markersize=5)
        mine = [row for row in slept if row["mode"] == mode and row["executor"].startswith("process-pool")]
        counts = [int(row["executor"].rpartition(":")[2]) for row in mine]
        label = f"{NAMES[mode]}, real processes"
        axes.plot(
            counts,
            [row["efficiency"] for row in mine],
            "s",
            color=colour,
            label=label,
            markersize=6,
            markerfacecolor="none",
        )
    axes.axhline(0.9, color=MUTED, linewidth=1, linestyle=":")
    axes.set_xscale("log", base=10)
    axes.set_xticks(
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000],
        ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1,000"],
    )
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    in_percent(axes.yaxis)
    axes.set_xlabel("workers")
    axes.set_ylabel("time at work")
    axes.set_title("What waiting for generations costs: candidates of 15 to 150 s", color=INK, loc="left")
    axes.legend(loc="lower left", frameon=False)
    return figure


def simulated_table(rows: list[dict]) -> str:
    """Both ways side by side."""
    lines = [
        "| workers | by generations: at work | candidates/s | asynchronous: at work | without the end | candidates/s | faster |",
        "|---|---|---|---|---|---|---|",
    ]
    for workers in dict.fromkeys(row["workers"] for row in rows):
        waiting, free = (
            next(row for row in rows if row["workers"] == workers and row["mode"] == mode)
            for mode in ("generations", "asynchronous")
        )
        cells = [
            f"{workers:,}",
            f"{100 * waiting['efficiency']:.1f} %",
            f"{waiting['candidates_per_s']:.2f}",
            f"{100 * free['efficiency']:.1f} %",
            f"{100 * free['until_last_begun']:.1f} %",
            f"{free['candidates_per_s']:.2f}",
            f"{free['candidates_per_s'] / waiting['candidates_per_s']:.2f}x",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(
        "\nThe main process, per candidate (median and worst row, on the clock, the journal's syncs included; and CPU):"
    )
    for mode in COLOURS:
        mine = [row for row in rows if row["mode"] == mode]
        clock, cpu = (sorted(row[f"{kind}_ms_per_candidate"] for row in mine) for kind in ("own", "cpu"))
        lines.append(
            f"- {NAMES[mode]}: {clock[len(clock) // 2]:.2f} ms, {clock[-1]:.2f} ms; "
            f"CPU {cpu[len(cpu) // 2]:.2f} ms, {cpu[-1]:.2f} ms"
        )
    return "\n".join(lines)


def sleep_table(rows: list[dict]) -> str:
    """Real workers, candidates that only wait."""
    lines = ["| executor | workers | by generations: at work | asynchronous: at work |", "|---|---|---|---|"]
    return "\n".join([*lines, *pairs(rows, "sleep", lambda row: f"{100 * row['efficiency']:.1f} %")])


def mnist_table(rows: list[dict]) -> str:
    """Real workers, real candidates."""
    lines = ["| executor | workers | by generations: candidates/s | asynchronous: candidates/s |", "|---|---|---|---|"]
    return "\n".join([*lines, *pairs(rows, "mnist", lambda row: f"{row['candidates_per_s']:.2f}")])


def pairs(rows: list[dict], what: str, cell) -> list[str]:
    mine = [row for row in rows if row["what"] == what]
    lines = []
    for place in dict.fromkeys(row["executor"] for row in mine):
        kind, _, workers = place.rpartition(":")
        both = [
            next(row for row in mine if (row["executor"], row["mode"]) == (place, mode))
            for mode in ("generations", "asynchronous")
        ]
        lines.append(f"| {kind} | {workers} | {cell(both[0])} | {cell(both[1])} |")
    return lines


def overhead_table(document: dict) -> str:
    """Milliseconds per candidate around a candidate that takes none."""
    lines = [
        "| executor | workers | on the clock | worst of the repeats | CPU of the main process | goal |",
        "|---|---|---|---|---|---|",
    ]
    for place, figures in document["ms_per_candidate"].items():
        kind, _, workers = place.rpartition(":")
        goal = document["goals"].get(kind)
        cells = [
            kind,
            workers,
            f"{figures['wall']:.2f} ms",
            f"{figures['wall_worst']:.2f} ms",
            f"{figures['cpu']:.2f} ms",
            f"{goal:g} ms" if goal else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, f"\nOf this, {document['sync_ms']:.2f} ms are one synced line on this disk."])


if __name__ == "__main__":
    main()
