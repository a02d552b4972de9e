"""The seam between job factories and workers on machines that don't have the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from evoprune.execution.base import Job, JobFactory


@runtime_checkable
class Portable(Protocol):
    """What a `JobFactory` offers besides when its jobs can be done far away from the files of this machine."""

    def portable(self) -> JobFactory:
        """A factory of the same job function that holds model and data instead of reading them here."""

    def files(self, job: Job) -> Mapping[str, Path]:
        """The files here that a job reads, by the name under which its function looks for them in `Job.files`."""


def made_portable(factory: JobFactory) -> JobFactory:
    """`factory`, or what it becomes for the way."""
    return factory.portable() if isinstance(factory, Portable) else factory


def files_of(factory: JobFactory, job: Job) -> Mapping[str, Path]:
    """The files that `job` needs brought along; none where the factory names none."""
    return factory.files(job) if isinstance(factory, Portable) else {}
