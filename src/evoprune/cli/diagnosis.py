"""What there is on this machine that a run depends on."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import torch

from evoprune.caching import cache_directory
from evoprune.cli.printable import printable
from evoprune.execution.apart import can_work_apart
from evoprune.plugins import EXTRAS
from evoprune.version import __version__

PACKAGES: Final = ("torch", "numpy", "scipy", "pymoo", "pydantic", "safetensors", "matplotlib", "rich", "typer")


def diagnose() -> dict[str, dict[str, str]]:
    """Lines by what they are about."""
    return {
        "evoprune": {
            "version": __version__,
            "folder": printable(str(Path(__file__).parents[1])),
            "Python": f"{platform.python_version()}, {printable(sys.executable)}",
            "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        },
        "packages": {name: _version(name) or "not installed" for name in PACKAGES},
        "devices": _devices(),
        "threads": {
            "cores this process may use": str(_cores()),
            "torch threads": str(torch.get_num_threads()),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
            "trainings in a child process": "yes" if can_work_apart() else "no",
        },
        "cache": _cache(),
        "extras": {name: _extra(name, packages) for name, packages in EXTRAS.items()},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extra(name: str, packages: tuple[str, ...]) -> str:
    found = {package: _version(package) for package in packages}
    if all(found.values()):
        return ", ".join(f"{package} {one}" for package, one in found.items())
    missing = ", ".join(package for package, one in found.items() if one is None)
    return f"{missing} not installed; pip install 'evoprune[{name}]'"


def _devices() -> dict[str, str]:
    found = {"cpu": platform.processor() or platform.machine()}
    if torch.cuda.is_available():
        found |= {f"cuda:{index}": torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    else:
        found["cuda"] = "none" if torch.version.cuda is None else f"none; torch is built for CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        found["mps"] = "there"
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache() -> dict[str, str]:
    folder = cache_directory()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    writable = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    return {
        "folder": printable(str(folder)),
        "content": f"{len(files)} files, {size / 1e6:.1f} MB",
        "writable": "yes" if writable else "no: set EVOPRUNE_CACHE to a folder that is",
    }
