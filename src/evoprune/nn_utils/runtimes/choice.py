"""Runtimes by name."""

from __future__ import annotations

from collections.abc import Callable

from evoprune.errors import ConfigError
from evoprune.nn_utils.runtimes.base import Runtime
from evoprune.nn_utils.runtimes.compiled import CompiledRuntime
from evoprune.nn_utils.runtimes.eager import EagerRuntime
from evoprune.nn_utils.runtimes.names import COMPILED, EAGER, ONNXRUNTIME, RUNTIMES
from evoprune.nn_utils.runtimes.onnx_sessions import OnnxRuntime


def runtime_of(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        ConfigError: There is none.
        MissingDependencyError: What it needs is not installed.
    """
    kinds: dict[str, Callable[[], Runtime]] = {
        EAGER: EagerRuntime,
        ONNXRUNTIME: OnnxRuntime,
        COMPILED: CompiledRuntime,
    }
    if name not in kinds:
        raise ConfigError(f"{name!r} is no runtime", f"the runtimes are {', '.join(RUNTIMES)}")
    return kinds[name]()
