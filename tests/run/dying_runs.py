"""`python -m tests.run.dying_runs FOLDER all|some CONFIG [RUN]`: one run that nothing disturbs, and one for each step to die at.

They end in FOLDER as `whole` and `killed-<step>`; `steps.json` there says what each step is. Where a finished RUN is named, they
fine-tune it. Python and torch are loaded once: each run is a fork of this process.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from evoprune.config.schema import make_config
from evoprune.config.yaml_files import read_config
from evoprune.run.factories.finetuning import finetune_run
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.store.comparison import read_comparison
from tests.run.conftest import TINY
from tests.run.deaths import NEVER, Fate, first_and_last_of_each, in_a_fork


def main(folder: Path, which: str, work: Callable[[Path], None]) -> None:
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)])  # imports what would otherwise be imported in every fork

    def run(name: str, last: int) -> list[str]:
        os.environ["EVOPRUNE_CACHE"] = str(folder / name / "cache of run")
        fate = Fate(folder / name, last)
        work(folder / name / "run")
        return fate.steps

    assert in_a_fork(lambda: (folder / "steps.json").write_text(json.dumps(run("whole", NEVER)))) == 0
    steps = json.loads((folder / "steps.json").read_text())
    for number in range(len(steps)) if which == "all" else first_and_last_of_each(steps):
        ended = in_a_fork(lambda last=number: run(f"killed-{last}", last))
        assert ended == -signal.SIGKILL, f"step {number}, {steps[number]}: exit code {ended}"


def work_on(config_path: Path, finished: Path | None = None) -> Callable[[Path], None]:
    config = make_config(read_config(config_path))
    source = RecipeSource(TINY, None, None, config.run.seed)

    def work(out: Path) -> None:
        if finished is None:
            execute(config, source, out)
        else:
            finetune_run(finished, config, source, out, lambda _: None, before=read_comparison(finished))

    return work


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], work_on(*map(Path, sys.argv[3:])))
