"""The connection of this process to a Ray cluster: one that the caller has opened, or one to an address."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from evoprune import version
from evoprune.errors import UsageError
from evoprune.execution.environment import kept_environment, kept_sigterm_handler
from evoprune.execution.ray.reachable import check_reachable

_NOT_SENT: Final = (".git", ".venv", "venv", "runs", "__pycache__", "node_modules")


def check_address(address: str | None) -> None:
    """See that there is a cluster to use: one at an address, or one that this process is connected to.

    Raises:
        UsageError: There is neither.
    """
    if address is None and not ray.is_initialized():
        raise UsageError(
            "executor ray has no cluster: execution.address is not set, and this process is not connected to Ray",
            "set execution.address (--address), call ray.init() first, or use process-pool on one machine",
        )


def join(address: str, working_dir: Path | None) -> None:
    """Connect to the cluster at `address` and send it evoprune's code, and that in `working_dir`.

    Raises:
        UsageError: There is no cluster, or it can't be joined.
    """
    check_reachable(address)
    code: dict[str, Any] = {"py_modules": [str(Path(version.__file__).parent)]}
    if working_dir is not None:
        code |= {"working_dir": str(working_dir), "excludes": list(_NOT_SENT)}
    try:
        with kept_sigterm_handler(), kept_environment():
            ray.init(address, runtime_env=code, logging_level=logging.ERROR, log_to_driver=False)
    except (RayError, OSError, RuntimeError, ValueError, SystemExit) as error:
        # Ray's own handler of SIGTERM makes a SystemExit of a time-out inside it.
        raise UsageError(
            f"can't join the Ray cluster at {address}: {error}",
            "both sides need the same versions of Ray and Python, RAY_AUTH_MODE and token",
        ) from error


def leave() -> None:
    """Close the connection."""
    with kept_sigterm_handler():
        ray.shutdown()
