"""Names of runtimes, known without loading any of them."""

from __future__ import annotations

from typing import Final

EAGER: Final = "eager"
"""PyTorch as it is."""
ONNXRUNTIME: Final = "onnxruntime"
"""The network exported to ONNX, on the CPU."""
COMPILED: Final = "torch.compile"
"""What PyTorch's compiler makes; for the networks at a run's end alone: compiling takes seconds for each width."""
RUNTIMES: Final = (EAGER, ONNXRUNTIME)
