"""Runtimes by name."""

from __future__ import annotations

from evoprune.errors import ConfigError
from evoprune.nn_utils.runtimes.base import Runtime
from evoprune.nn_utils.runtimes.eager import EagerRuntime
from evoprune.nn_utils.runtimes.names import EAGER, ONNXRUNTIME, RUNTIMES
from evoprune.nn_utils.runtimes.onnx_sessions import OnnxRuntime


def runtime_of(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        ConfigError: There is none.
        MissingDependencyError: What it needs is not installed.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"{name!r} is no runtime", f"the runtimes are {', '.join(RUNTIMES)}")
    kinds: dict[str, type[EagerRuntime | OnnxRuntime]] = {EAGER: EagerRuntime, ONNXRUNTIME: OnnxRuntime}
    return kinds[name]()
