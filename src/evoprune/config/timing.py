"""The settings of how finished networks are timed."""

from __future__ import annotations

from pydantic import Field

from evoprune.config.fields import PositiveInt, Section


class TimingConfig(Section):
    """How finished networks are timed, the dense and the pruned one by turns; nothing of the search depends on it."""

    batch: PositiveInt = Field(
        64,
        description="samples of the pass that shows throughput, beside one of 1; less where it would take over half a second",
    )
    compile: bool = Field(
        False, description="time what torch.compile makes as well; compiling takes from seconds to minutes"
    )
    onnxruntime: bool = Field(
        True, description="time the networks in ONNX Runtime as well, where it is installed and the device is the CPU"
    )
