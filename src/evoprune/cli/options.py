"""Options that several commands have, and how their help ends."""

from __future__ import annotations

from typing import Annotated, Final

import typer

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show cautions and the result alone.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show a line for each candidate.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")]

EXAMPLES: Final = {
    "run": (
        "evoprune run mnist-cnn",
        'evoprune run mnist-cnn --constraint "macs<=0.2" --time-budget 10m --out runs/small',
        "evoprune run my_package.my_module:recipe --dry-run",
    ),
    "init": ("evoprune init mine.py", "evoprune run mine:recipe"),
    "resume": ("evoprune resume runs/mnist-cnn",),
    "front": ("evoprune front runs/mnist-cnn", "evoprune front runs/mnist-cnn --json"),
    "finish": (
        "evoprune finish runs/mnist-cnn --point 141",
        'evoprune finish runs/mnist-cnn --constraint "macs<=0.2" --constraint "latency_ms<=3"',
    ),
    "report": ("evoprune report runs/mnist-cnn --open",),
    "compare": ("evoprune compare runs/s0 runs/s1 runs/s2",),
    "recipes": ("evoprune recipes",),
    "inspect": ("evoprune inspect mnist-cnn", "evoprune inspect my_package.my_module:recipe --sensitivity"),
    "layers": ("evoprune layers lenet5-mnist --layer 'fc*'",),
    "measure": ("evoprune measure mnist-cnn --batch 1 --batch 256 --out latency.json",),
    "finetune": ("evoprune finetune runs/lenet5-mnist --epochs 5",),
    "export": ("evoprune export runs/mnist-cnn --to torch-export",),
    "doctor": ("evoprune doctor",),
}
"""Command lines that the help of a command ends with."""


def epilog(command: str) -> str | None:
    """The end of a command's help; nothing where there is no example."""
    lines = EXAMPLES.get(command)
    return None if lines is None else "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])
