"""Names of runtimes, known without loading any of them."""

from __future__ import annotations

from typing import Final

EAGER: Final = "eager"
"""PyTorch as it is."""
ONNXRUNTIME: Final = "onnxruntime"
"""The network exported to ONNX, on the CPU."""
RUNTIMES: Final = (EAGER, ONNXRUNTIME)
