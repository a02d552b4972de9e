"""A run in MLflow: parameters, metrics, and the finished network as artifacts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from evoprune.errors import MissingDependencyError
from evoprune.events import Event, RunEnded, RunStarted
from evoprune.tracking.numbers import Numbers, Reader, figures, files, settings

LONGEST: Final = 500
"""Characters that MLflow takes of a parameter."""


class MLflow:
    """A listener that keeps a run with MLflow's client; the active run of the process is left alone.

    Args:
        experiment: Name of the experiment, which is made where there is none.
        tracking_uri: Where it is kept; what MLflow is set to when None, `MLFLOW_TRACKING_URI` or its default.
        artifacts: Whether the finished network is kept as well.

    Raises:
        MissingDependencyError: MLflow is not installed.
    """

    def __init__(
        self, experiment: str = "evoprune", tracking_uri: str | None = None, *, artifacts: bool = True
    ) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError as error:
            raise MissingDependencyError("MLflow is not installed", "pip install 'evoprune[mlflow]'") from error
        self._client, self._metric, self._param = MlflowClient(tracking_uri), Metric, Param
        self._experiment, self._artifacts = experiment, artifacts
        self._run: str | None = None
        self._reader = Reader()

    def __call__(self, event: Event) -> None:
        """Keep the numbers of an event."""
        match event:
            case RunStarted():
                self._open(Path(event.directory))
            case RunEnded():
                self._end(Path(event.directory))
        found = self._reader.numbers(event)
        if found is not None:
            self._log(found)

    def close(self, status: str = "FAILED") -> None:
        """End a run that is still open, as one that stopped."""
        if self._run is not None:
            self._client.set_terminated(self._run, status)
            self._run = None

    def _open(self, directory: Path) -> None:
        self.close()
        found: Any = self._client.get_experiment_by_name(self._experiment)
        identifier = self._client.create_experiment(self._experiment) if found is None else found.experiment_id
        self._run = self._client.create_run(identifier, run_name=directory.name).info.run_id
        parameters = [self._param(name, value[:LONGEST]) for name, value in settings(directory).items()]
        for start in range(0, len(parameters), 100):
            self._client.log_batch(self._run, params=parameters[start : start + 100])

    def _log(self, numbers: Numbers) -> None:
        if self._run is not None:
            now = int(time.time() * 1000)
            values = numbers.values.items()
            self._client.log_batch(
                self._run, metrics=[self._metric(name, value, now, numbers.step) for name, value in values]
            )

    def _end(self, directory: Path) -> None:
        if self._run is None:
            return
        self._log(Numbers(0, {f"finished/{name}": value for name, value in figures(directory).items()}))
        for path in files(directory) if self._artifacts else ():
            folder = None if path.parent == directory else path.parent.name
            self._client.log_artifact(self._run, str(path), folder)
        self.close("FINISHED")
