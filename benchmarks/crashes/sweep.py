"""Look for convolutions whose training ends the process or gives wrong gradients: torch alone, in processes of their own.

    python benchmarks/crashes/sweep.py OUT.jsonl [--minutes 10] [--workers 1] [--seed 0] [--threads 1 2]

Cases are drawn in groups by a seed; finished groups are skipped when the command is given again. A case that ends its process
is tried again alone. `summary.py` turns the lines into a table.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

GROUP = 48
REPEATS = 12
ALONE_REPEATS = 150
TIMEOUT_S = 240
# Wrong by more than rounding: gradients are sums over as many as 10^5 products.
TOLERANCE = 2e-3


def draw(generator: random.Random, threads: list[int]) -> dict[str, Any]:
    """One case: a convolution, its batch, its layout and its threads."""
    widths = generator.choice(["odd", "odd", "odd", "eights"])
    pick = (lambda: generator.randint(1, 34)) if widths == "odd" else (lambda: 8 * generator.randint(1, 5))
    kind = generator.choice(["plain", "plain", "plain", "plain", "depthwise", "grouped", "transposed"])
    inputs, outputs, groups = pick(), pick(), 1
    if kind == "depthwise":
        groups = outputs = inputs
    elif kind == "grouped":
        groups = generator.choice([2, 3, 4])
        inputs, outputs = inputs * groups, outputs * groups
    kernel = generator.choice([1, 1, 3, 3, 5, 7])
    return {
        "kind": kind,
        "in": inputs,
        "out": outputs,
        "groups": groups,
        "kernel": kernel,
        "stride": generator.choice([1, 1, 2, 2, 2, 3]),
        "padding": generator.choice([0, kernel // 2]),
        "size": max(kernel, generator.choice([4, 5, 7, 8, 14, 15, 28])),
        "batch": generator.choice(
            [1, 2, 7, 8, 16, 17, 31, 32, 33, 63, 64, 100, 116, 120, 124, 125, 126, 127, 128, generator.randint(1, 130)]
        ),
        "threads": generator.choice(threads),
        "channels_last": generator.random() < 0.6,
        "bfloat16": generator.random() < 0.1,
    }


def run_case(case: dict[str, Any], repeats: int) -> float:
    """Forward and backward so many times; gives the largest difference of a gradient from one thread in the plain layout."""
    import torch

    kind = torch.nn.ConvTranspose2d if case["kind"] == "transposed" else torch.nn.Conv2d
    torch.manual_seed(0)  # noqa: TID251 - a script of its own
    convolution = kind(
        case["in"], case["out"], case["kernel"], case["stride"], case["padding"], groups=case["groups"], bias=False
    )
    inputs = torch.randn(case["batch"], case["in"], case["size"], case["size"])

    def gradients() -> list[Any]:
        convolution.zero_grad()
        images = inputs.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=case["bfloat16"]):
            output = convolution(images)
        (output.float() ** 2).mean().backward()
        return [images.grad.clone(), convolution.weight.grad.clone()]

    torch.set_num_threads(1)
    expected = gradients()
    if case["channels_last"]:
        convolution = convolution.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(case["threads"])
    worst = 0.0
    for _ in range(repeats):
        for found, wanted in zip(gradients(), expected, strict=True):
            scale = float(wanted.abs().max()) + 1e-12
            worst = max(worst, float((found - wanted).abs().max()) / scale)
    return worst


def serve() -> None:
    """A child: cases as JSON on stdin, a line for each that was survived."""
    request = json.load(sys.stdin)
    for case in request["cases"]:
        print(json.dumps(run_case(case, request["repeats"])), flush=True)


def ask(cases: list[dict[str, Any]], repeats: int) -> tuple[int, list[float]]:
    """Run cases in a fresh process: its exit code, 124 for one that hangs, and what it said before it ended."""
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--serve"],
            input=json.dumps({"cases": cases, "repeats": repeats}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, []
    said = [float(line) for line in done.stdout.splitlines() if line]
    if done.returncode > 0:
        raise RuntimeError(done.stderr[-2000:])
    return done.returncode, said


def look_at(number: int, seed: int, threads: list[int]) -> list[dict[str, Any]]:
    """One group: a line for each of its cases, with the exit code of the process that it ended, 0 for most."""
    generator = random.Random(f"{seed}-{number}")
    cases = [draw(generator, threads) for _ in range(GROUP)]
    lines: list[dict[str, Any]] = []
    while cases:
        code, differences = ask(cases, REPEATS)
        lines += [
            {"group": number, "code": 0, "difference": value, **case}
            for case, value in zip(cases, differences, strict=False)
        ]
        cases = cases[len(differences) :]
        if cases:
            # What breaks the heap may kill a later one: only a case that also dies alone is guilty for sure.
            alone, said = ask(cases[:1], ALONE_REPEATS)
            lines.append(
                {"group": number, "code": code, "alone": alone, "difference": max(said, default=-1.0), **cases[0]}
            )
            cases = cases[1:]
    return lines


def main() -> None:
    """Draw and look, group by group, until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 2])
    given = parser.parse_args()
    known = {json.loads(line)["group"] for line in given.out.read_text().splitlines()} if given.out.exists() else set()
    end = time.monotonic() + 60 * given.minutes
    numbers = (number for number in range(10**9) if number not in known)
    with given.out.open("a") as file, ThreadPoolExecutor(given.workers) as pool:

        def work() -> None:
            while time.monotonic() < end:
                lines = look_at(next(numbers), given.seed, given.threads)
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                file.flush()

        for future in [pool.submit(work) for _ in range(given.workers)]:
            future.result()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main()
