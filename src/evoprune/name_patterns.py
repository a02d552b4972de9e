"""Names of layers and parameters as users write them: exactly, or as patterns such as `layer1.*`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from evoprune.errors import UsageError

_PREFIXES: Final = ("module.", "_orig_mod.")
"""What `DataParallel` and `torch.compile` write in front of every name."""
_SHOWN: Final = 12


def one_or_more(texts: str | Iterable[str] | None) -> tuple[str, ...]:
    """The texts; a single string is one of them, not a sequence of letters, and None is none.

    Raises:
        UsageError: There is something else among them.
    """
    if texts is None:
        return ()
    found = (texts,) if isinstance(texts, str) or not isinstance(texts, Iterable) else tuple(texts)
    for one in found:
        if not isinstance(one, str):
            raise UsageError(
                f"{' '.join(repr(one).split()):.60} is no text", "name it, as in 'conv1', or give several such names"
            )
    return found


def plain(name: str) -> str:
    """The name without what wrappers write in front of it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def names_it(pattern: str, name: str) -> bool:
    """Whether a pattern names this very module or parameter; wrappers' prefixes make no difference on either side."""
    return fnmatchcase(plain(name), plain(pattern))


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern names a parameter or a module, or a module around it."""
    around = [
        parts[:length] for parts in (name.split("."), plain(name).split(".")) for length in range(1, len(parts) + 1)
    ]
    return any(names_it(pattern, ".".join(parts)) for parts in around)


def nearest(pattern: str, names: Iterable[str]) -> str:
    """The names, those most like the pattern first, cut where they are many."""
    known = list(dict.fromkeys(plain(name) for name in names))
    return listed(difflib.get_close_matches(plain(pattern), known, n=len(known), cutoff=0.0))


def listed(names: Sequence[str]) -> str:
    """The names in one line, cut where they are many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
