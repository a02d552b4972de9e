"""A run in Weights & Biases: settings, numbers, and the figures of the finished networks as its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune.errors import MissingDependencyError
from evoprune.events import Event, RunEnded, RunStarted
from evoprune.tracking.numbers import Reader, figures, settings


class WandB:
    """A listener that keeps a run with `wandb`.

    Numbers of candidates, generations, epochs and batches have steps of their own, named `candidates/step` and so on.

    Args:
        project: Name of the project.
        options: Further arguments of `wandb.init`, such as `mode="offline"`, `dir` or `name`.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    def __init__(self, project: str = "evoprune", **options: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError("wandb is not installed", "pip install 'evoprune[wandb]'") from error
        self._init = wandb.init
        self._options = {"project": project, **options}
        self._run: Any = None
        self._reader = Reader()
        self._known: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Keep the numbers of an event."""
        match event:
            case RunStarted():
                self._open(Path(event.directory))
            case RunEnded():
                self._end(Path(event.directory))
        found = self._reader.numbers(event)
        if found is not None and self._run is not None:
            names = list(found.values)
            axis = f"{names[0].partition('/')[0]}/{'epoch' if 'epoch_loss' in names[0] else 'step'}"
            for name in names:
                if name not in self._known:
                    self._known.add(name)
                    self._run.define_metric(name, step_metric=axis)
            self._run.log({**found.values, axis: found.step})

    def close(self, exit_code: int = 1) -> None:
        """End a run that is still open, as one that stopped."""
        if self._run is not None:
            self._run.finish(exit_code=exit_code)
            self._run = None

    def _open(self, directory: Path) -> None:
        self.close()
        self._known.clear()
        self._run = self._init(**{"name": directory.name, "config": settings(directory), **self._options})

    def _end(self, directory: Path) -> None:
        if self._run is not None:
            self._run.summary.update(figures(directory))
            self.close(0)
