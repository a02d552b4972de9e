"""What a new process needs of the script or notebook that started this one: nothing, or its module `__main__` imported again."""

from __future__ import annotations

import ast
import io
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

MAIN: Final = "__main__"


def names_from_main(value: Any) -> list[str]:
    """Classes and functions of `__main__` that `value`'s pickle refers to; none where it can't be pickled.

    Nothing is kept of the pickle, which may be as large as the data.
    """
    try:
        return pickle_into(_Nowhere(), value)
    except Exception:  # whoever sends it will say what is wrong
        return []


def pickle_into(file: Any, value: Any) -> list[str]:
    """Pickle `value`; gives the classes and functions of `__main__` that the pickle refers to."""
    found: dict[str, None] = {}

    class Search(pickle.Pickler):
        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, (type, types.FunctionType)) and one.__module__ == MAIN:
                found[one.__qualname__] = None
            return NotImplemented

    Search(file).dump(value)
    return list(found)


def why_main_cannot_be_imported_again() -> str:
    """Why another process that needs `__main__` can't have it; empty where it can.

    A notebook and an interactive session have no file to import. A script that isn't guarded would do all its work once more.
    """
    path = getattr(sys.modules[MAIN], "__file__", None)
    if path is None or not Path(path).is_file():
        return "a notebook or interactive session has no file that they could import"
    if not _is_guarded(Path(path)):
        return 'its script would run once more in each, as it has no `if __name__ == "__main__":`'
    return ""


@contextmanager
def main_left_alone() -> Iterator[None]:
    """Have processes that are started in the block not import `__main__` again, as `spawn` does otherwise."""
    main = sys.modules[MAIN]
    sys.modules[MAIN] = types.ModuleType(MAIN)
    try:
        yield
    finally:
        sys.modules[MAIN] = main


class _Nowhere(io.RawIOBase):
    def write(self, content: Any) -> int:
        """Forget the content."""
        return len(content)


def _is_guarded(path: Path) -> bool:
    """Whether what the script is doing at this moment stands behind its guard, which an import doesn't pass."""
    line = _line_of_script()
    try:
        statements = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    if line is None:  # called by a thread, or by what has imported the script
        return any(map(_is_guard, statements))
    return any(
        _is_guard(one) and one.body[0].lineno <= line <= (one.body[-1].end_lineno or line)  # type: ignore[attr-defined]
        for one in statements
    )


def _line_of_script() -> int | None:
    frame, line = sys._getframe(), None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == MAIN:
            line = frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return line


def _is_guard(statement: ast.stmt) -> bool:
    if not (isinstance(statement, ast.If) and isinstance(statement.test, ast.Compare)):
        return False
    test = statement.test
    sides = [test.left, *test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    values = {side.value for side in sides if isinstance(side, ast.Constant)}
    return isinstance(test.ops[0], ast.Eq) and names == {"__name__"} and values == {MAIN}
