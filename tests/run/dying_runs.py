"""`python -m tests.run.dying_runs CONFIG FOLDER all|some`: one run that nothing disturbs, and one for each step to die at.

They end in FOLDER as `whole` and `killed-<step>`; `steps.json` there says what each step is. Python and torch are loaded once:
each run is a fork of this process.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from evoprune.run.config import make_config
from evoprune.run.problem import RecipeSource
from evoprune.run.runner import execute
from evoprune.run.settings import read_config
from tests.run.conftest import TINY
from tests.run.deaths import NEVER, Fate, first_and_last_of_each, in_a_fork


def main(config_path: Path, folder: Path, which: str) -> None:
    config = make_config(read_config(config_path))
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)])  # imports what would otherwise be imported in every fork

    def run(name: str, last: int) -> list[str]:
        os.environ["EVOPRUNE_CACHE"] = str(folder / name / "cache of run")
        fate = Fate(folder / name, last)
        execute(config, RecipeSource(TINY, None, None, config.run.seed), folder / name / "run")
        return fate.steps

    assert in_a_fork(lambda: (folder / "steps.json").write_text(json.dumps(run("whole", NEVER)))) == 0
    steps = json.loads((folder / "steps.json").read_text())
    for number in range(len(steps)) if which == "all" else first_and_last_of_each(steps):
        ended = in_a_fork(lambda last=number: run(f"killed-{last}", last))
        assert ended == -signal.SIGKILL, f"step {number}, {steps[number]}: exit code {ended}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
