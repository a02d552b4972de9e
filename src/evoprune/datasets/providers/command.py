"""Package tools of the machine, called with a time limit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from evoprune.datasets.providers.base import ProviderError

LIMIT_S: Final = 180


def run_tool(command: list[str], *, cwd: Path) -> None:
    """Run a command to its end, or give its own last words as the reason why not.

    Raises:
        ProviderError: The tool is not installed, fails, or does not end within `LIMIT_S`.
    """
    tool = shutil.which(command[0])
    if tool is None:
        raise ProviderError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [tool, *command[1:]], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProviderError(f"{command[0]} did not end within {LIMIT_S} s") from error
    except OSError as error:
        raise ProviderError(f"{command[0]} can't be run: {error.strerror or error}") from error
    if done.returncode != 0:
        raise ProviderError(_last_words(done.stderr) or f"{command[0]} ended with code {done.returncode}")


def _last_words(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!"))]
    return (telling or lines or [""])[0][:200]
