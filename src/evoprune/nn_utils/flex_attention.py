"""`flex_attention`, which compiles itself wherever it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MODULE: Final = "torch.nn.attention.flex_attention"
_SWITCH: Final = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"


@contextmanager
def uncompiled_flex_attention() -> Iterator[None]:
    """Have it run as plain operations, by torch's own switch: a dispatch mode can't be compiled (torch 2.13)."""
    module = sys.modules.get(_MODULE)
    if module is None or not hasattr(module, _SWITCH):
        yield
        return
    before = getattr(module, _SWITCH)
    try:
        setattr(module, _SWITCH, True)
        yield
    finally:
        setattr(module, _SWITCH, before)
