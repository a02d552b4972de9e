"""The names of structures, as users write them."""

from __future__ import annotations

import re
from typing import Final

from evoprune.errors import ConfigError
from evoprune.masks.n_of_m import NOfM
from evoprune.masks.structures import COLUMNS, ROWS, Blocks, Structure, Unstructured

ACCEPTED: Final = "unstructured, N:M such as 2:4, rows, columns, or blocks such as 4x4 (outputs x inputs)"

_NAMED: Final[dict[str, Structure]] = {"unstructured": Unstructured(), "rows": ROWS, "columns": COLUMNS}
_LARGEST: Final = 65536


def parse_structure(name: str) -> Structure:
    """The structure of a name such as `unstructured`, `2:4`, `rows`, `columns`, `4x4` or `blocks 4x4`.

    Raises:
        ConfigError: The name is none of these, or its numbers make no structure.
    """
    text = name.strip().lower()
    if text in _NAMED:
        return _NAMED[text]
    pattern = re.fullmatch(r"(?:blocks\s+)?([0-9]{1,6})\s*([:x])\s*([0-9]{1,6})", text)
    if pattern is None or (text.startswith("blocks") and pattern[2] == ":"):
        raise ConfigError(f"there is no structure {name!r}", f"accepted: {ACCEPTED}")
    first, second = int(pattern[1]), int(pattern[3])
    if pattern[2] == ":" and not 1 <= first < second <= _LARGEST:
        raise ConfigError(f"structure {name!r}: N of every M weights stay, so N is at least 1 and less than M")
    if pattern[2] == "x" and not (1 <= first <= _LARGEST and 1 <= second <= _LARGEST):
        raise ConfigError(f"structure {name!r}: a block has 1 to {_LARGEST} outputs and inputs")
    return NOfM(first, second) if pattern[2] == ":" else Blocks(first, second)
