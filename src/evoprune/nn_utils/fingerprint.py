"""A name for a model's dense structure."""

from __future__ import annotations

import hashlib

from torch import nn


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal characters: names and shapes of all parameters and buffers, and which are shared.

    Neither values nor dtype nor device matter.
    """
    first: dict[int, str] = {}
    lines = []
    for kind in (
        model.named_parameters(remove_duplicate=False),
        model.named_buffers(remove_duplicate=False),
    ):
        for name, tensor in kind:
            owner = first.setdefault(id(tensor), name)
            lines.append(f"{name}:{tuple(tensor.shape)}:{owner}")
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
