"""Connections of this process to Ray: an instance of its own that nobody else can use, or a cluster that is there."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray.exceptions import RayError

import evoprune
from evoprune.errors import UsageError
from evoprune.execution.environment import kept_environment, kept_sigterm_handler
from evoprune.execution.reachable import check_reachable

_NOT_SENT: Final = (".git", ".venv", "venv", "runs", "__pycache__", "node_modules")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_TEMPORARY: Final = "/tmp" if os.name == "posix" else None
_RAY_PRINTS: Final = ray_worker.print_to_stdstream
_QUIET: Final = {"logging_level": logging.ERROR, "log_to_driver": False}

_logger = logging.getLogger(__name__)


def start(cpus: int, *, with_gpus: bool, store_bytes: int) -> Path:
    """Start an instance on the loopback, without dashboard and usage statistics, and connect to it.

    Args:
        cpus: What its workers may ask for together.
        with_gpus: Whether it hands out this machine's GPUs.
        store_bytes: Room for what is sent to workers.

    Returns:
        The folder of its sockets and logs, to be given to `leave`.
    """
    # Ray's own choice is /tmp/ray, and it lets everybody write what is below. Others may be too deep for names of sockets.
    folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR") or _TEMPORARY)
    with _opening(folder), _loopback_allowed():
        # Whoever is on this machine reaches the loopback: only the processes of this run know the token. Given here, Ray
        # 2.60 doesn't look for one in the home folder, or leave one there.
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        _look_for_token_again()
        ray.init(
            "local",  # whatever RAY_ADDRESS says
            num_cpus=cpus,
            num_gpus=None if with_gpus else 0,
            include_dashboard=False,
            object_store_memory=store_bytes,
            _node_ip_address=_LOOPBACK[0],
            _temp_dir=f"{folder}/r",
            **_QUIET,
        )
    return Path(folder)


def join(address: str, working_dir: Path | None) -> None:
    """Connect to the cluster at `address` and send it evoprune's code, and that in `working_dir`.

    Raises:
        UsageError: There is no cluster, or it can't be joined.
    """
    check_reachable(address)
    code: dict[str, Any] = {"py_modules": [str(Path(evoprune.__file__).parent)]}
    if working_dir is not None:
        code |= {"working_dir": str(working_dir), "excludes": list(_NOT_SENT)}
    try:
        with _opening(), _loopback_allowed(address.rpartition(":")[0] in _LOOPBACK):
            ray.init(address, runtime_env=code, **_QUIET)
    except (RayError, OSError, RuntimeError, ValueError, SystemExit) as error:
        # Ray's own handler of SIGTERM makes a SystemExit of a time-out inside it.
        raise UsageError(
            f"can't join the Ray cluster at {address}: {error}",
            "both sides need the same versions of Ray and Python, RAY_AUTH_MODE and token",
        ) from error


def leave(folder: Path | None) -> None:
    """Close the connection; end the instance if it was started here, and remove its `folder`."""
    with kept_sigterm_handler():
        ray.shutdown()
    _tidy_up(folder)


@contextmanager
def _opening(folder: str | None = None) -> Iterator[None]:
    """What is changed while a connection opens is as before when it is open, and all of it when it fails."""
    ray_worker.print_to_stdstream = _log_what_ray_prints
    try:
        with kept_sigterm_handler(), kept_environment():
            yield
    except BaseException:
        _tidy_up(folder)
        raise


def _tidy_up(folder: Path | str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    ray_worker.print_to_stdstream = _RAY_PRINTS
    _look_for_token_again()


def _look_for_token_again() -> None:
    """Let Ray ask the environment whether to send a token, and which.

    Ray 2.60 asks once in a process: after an instance with a token it would send it to clusters that know of none. The mode
    comes first, because threads of Ray that are on their way out may look for the token as long as it says so.
    """
    loader = getattr(ray._raylet, "AuthenticationTokenLoader", None)
    if loader is not None:  # Ray 2.51 or older has no tokens
        ray._raylet.Config.initialize("")
        loader.instance().reset_cache()


def _log_what_ray_prints(data: Mapping[str, Any], **_: Any) -> None:
    """Keep a dead worker's obituary out of the terminal: Ray 2.60 prints it whatever `log_to_driver` is."""
    _logger.info("Ray: %s", " ".join(map(str, data["lines"])))


@contextmanager
def _loopback_allowed(wanted: bool = True) -> Iterator[None]:
    """Let Ray take 127.0.0.1 for what it is: on Linux it replaces it by an address that others can reach, and listens there.

    Ray 2.60 has no argument for it, but this constant, by which it stays on the loopback on Windows and macOS.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not wanted
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
