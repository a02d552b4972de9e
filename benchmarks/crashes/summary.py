"""Which convolutions went wrong in a sweep: a line for each kind, and one for each case.

python benchmarks/crashes/summary.py OUT.jsonl...
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

TOLERANCE = {False: 1e-3, True: 5e-2}
"""By whether products had half the bits: what rounding explains of a gradient's largest entry."""


def kind_of(line: dict[str, Any]) -> str:
    """The kind of convolution, as a row of the table."""
    pointwise = "1x1" if line["kernel"] == 1 else "larger"
    strided = "strided" if line["stride"] > 1 else "stride 1"
    layout = "channels last" if line["channels_last"] else "plain layout"
    threads = "one thread" if line["threads"] == 1 else "several threads"
    return f"{layout}, {line['kind']} {pointwise} {strided}, {threads}"


def went_wrong(line: dict[str, Any]) -> bool:
    """Whether the process ended, or gradients were others."""
    return line["code"] != 0 or line["difference"] > TOLERANCE[line.get("bfloat16", False)]


def main() -> None:
    """Print the table, then the cases."""
    lines = [json.loads(line) for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    wrong = [line for line in lines if went_wrong(line)]
    totals, bad = Counter(map(kind_of, lines)), Counter(map(kind_of, wrong))
    for kind in sorted(totals):
        print(f"{bad[kind]:4} of {totals[kind]:5}  {kind}")
    for line in wrong:
        print(json.dumps({key: value for key, value in line.items() if key != "group"}))


if __name__ == "__main__":
    main()
