"""Base of the modes that watch a model's operations."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class WatchingMode(TorchDispatchMode):
    """A dispatch mode that runs without the compiler.

    torch 2.13 wraps `__torch_dispatch__` so that its first call imports `torch._dynamo`: 0.6 s and an environment
    variable in every process, all for nothing here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
