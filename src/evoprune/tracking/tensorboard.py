"""A run in TensorBoard's event files, through torch's writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune.errors import MissingDependencyError
from evoprune.events import Caution, Event, RunEnded, RunStarted
from evoprune.tracking.numbers import Reader, figures, settings


class TensorBoard:
    """A listener that writes what `tensorboard --logdir` shows.

    Args:
        directory: Folder of the event files; `tensorboard` in the run directory when None.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """

    def __init__(self, directory: Path | str | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "TensorBoard is not installed", "pip install 'evoprune[tensorboard]'"
            ) from error
        self._kind = SummaryWriter
        self._directory = directory
        self._writer: Any = None
        self._reader = Reader()
        self._cautions = 0

    def __call__(self, event: Event) -> None:
        """Write the numbers of an event."""
        match event:
            case RunStarted():
                self._open(Path(event.directory))
            case RunEnded():
                self._end(Path(event.directory))
            case Caution() if self._writer is not None:
                self._writer.add_text("cautions", f"{event.what}: {event.detail}", self._cautions)
                self._cautions += 1
        found = self._reader.numbers(event)
        if found is not None and self._writer is not None:
            for name, value in found.values.items():
                self._writer.add_scalar(name, value, found.step)

    def close(self) -> None:
        """Write what is left and close the files; nothing is written after it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, run: Path) -> None:
        self.close()
        self._writer = self._kind(str(self._directory or run / "tensorboard"))
        rows = "\n".join(f"| {name} | {value} |" for name, value in settings(run).items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def _end(self, run: Path) -> None:
        for name, value in figures(run).items():
            self._writer.add_scalar(f"finished/{name}", value, 0)
        self.close()
