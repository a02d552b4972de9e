"""Every error evoprune raises on purpose, sorted by who has to act.

```text
EvopruneError
├── UsageError                  the user fixes something, exit code 2
│   ├── ConfigError
│   ├── DataError
│   ├── UnsupportedModelError
│   ├── MissingDependencyError
│   └── ReplayMismatchError
├── CandidateError              recorded as FAILED, the run goes on
│   ├── InvalidPlanError
│   ├── SurgeryError
│   ├── DivergedError
│   └── MeasurementError
└── RunError                    the run stops and can be resumed, exit code 1
    ├── WorkerLostError
    ├── DeviceMemoryError
    └── StoreCorruptedError
```
"""

from __future__ import annotations


class EvopruneError(Exception):
    """Base of all errors; carries what went wrong and what to do about it.

    Args:
        message: What is wrong, where, and what is accepted.
        hint: What the reader can do; empty when the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(EvopruneError):
    """Something the user gave can't be used as it is."""


class ConfigError(UsageError):
    """One or more configuration values are unknown, of the wrong type or out of range."""


class DataError(UsageError):
    """A data set is missing, corrupt or not what the task needs."""


class UnsupportedModelError(UsageError):
    """The model, or a part of it that was asked for, can't be handled."""


class MissingDependencyError(UsageError):
    """An optional package is needed and not installed."""


class ReplayMismatchError(UsageError):
    """A run directory belongs to another run than the one asked for."""


class CandidateError(EvopruneError):
    """One candidate can't be built or scored; the search goes on without it."""


class InvalidPlanError(CandidateError):
    """A pruning plan does not fit the model it is applied to, or is malformed."""


class SurgeryError(CandidateError):
    """The smaller network is not the one the plan describes."""


class DivergedError(CandidateError):
    """Training produced a loss that is not finite."""


class MeasurementError(CandidateError):
    """An objective could not be measured."""


class RunError(EvopruneError):
    """The run can't go on now; what it has is safe and it can be resumed."""


class WorkerLostError(RunError):
    """Workers keep dying, so that no candidate can be evaluated."""


class DeviceMemoryError(RunError):
    """The device runs out of memory even at the smallest sensible batch."""


class StoreCorruptedError(RunError):
    """A file of a run directory or artifact is damaged."""


def in_words(error: Exception) -> str:
    """An error's class and first line, for messages."""
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0][:160]}"
