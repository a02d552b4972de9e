"""Accuracy against sparsity, all methods in one picture."""

import statistics
from pathlib import Path

from course import MILESTONES
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

INK, GRID = "#1f2933", "#e4e7eb"
STYLES = {
    "evolved": ("evolved", "#c2410c", "-", "o"),
    "evolved-no-rule": ("evolved, no rule", "#b45309", "--", "s"),
    "lamp": ("iterative LAMP", "#1d4ed8", "-", "^"),
    "magnitude": ("iterative global magnitude", "#0f766e", "-", "v"),
    "root-fisher": ("iterative w²√F", "#7c3aed", ":", "D"),
    "fisher": ("iterative w²F", "#9aa5b1", ":", "P"),
    "random-once": ("random mask at once", "#52606d", "--", "x"),
}


def draw(results: dict, path: Path, *, span: float = 3.0) -> None:
    """Mean over seeds as lines, lowest to highest as bands; what lies more than `span` points down is cut off."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    highest = 100 * results["dense_accuracy"]
    axes.axhline(highest, color=INK, linewidth=1, linestyle=(0, (5, 4)), zorder=1)
    axes.annotate("dense", (1 - MILESTONES[0], highest), (2, 3), textcoords="offset points", color=INK, fontsize=9)
    lowest = highest
    for method, (label, colour, line, marker) in STYLES.items():
        points = curve(results["methods"].get(method, {}))
        if not points:
            continue
        kept = [1 - milestone for milestone, _ in points]
        means = [100 * statistics.mean(values) for _, values in points]
        lowest = min([lowest, *(value for _, values in points for value in (100 * one for one in values))])
        main = method == "evolved"
        axes.plot(
            kept, means, line, color=colour, marker=marker, label=label, markersize=6 if main else 4.5,
            linewidth=2.4 if main else 1.5, zorder=5 if main else 3,
        )  # fmt: skip
        axes.fill_between(
            kept,
            [100 * min(v) for _, v in points],
            [100 * max(v) for _, v in points],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    axes.set_ylim(max(lowest - 0.15, highest - span), highest + 0.35)
    axes.set_xscale("log")
    axes.set_xlim(1.06 * (1 - MILESTONES[0]), 0.94 * (1 - MILESTONES[-1]))
    axes.set_xticks([1 - milestone for milestone in MILESTONES])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda kept, _: f"{100 * (1 - kept):.4g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("sparsity of all prunable weights, % (axis: logarithm of the share kept)")
    axes.set_ylabel("test accuracy")
    axes.set_title(title(results), color=INK, loc="left", fontsize=11)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def title(results: dict) -> str:
    counts = sorted({len(runs) for runs in results["methods"].values()})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"LeNet-5 on MNIST, the same training steps for all; mean and range of {seeds} seeds"


def curve(runs: dict) -> list[tuple[float, list[float]]]:
    found = [(m, [run["accuracy"][str(m)] for run in runs.values() if str(m) in run["accuracy"]]) for m in MILESTONES]
    return [(milestone, values) for milestone, values in found if values]
