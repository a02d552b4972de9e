"""Opens a page in the user's browser, where there is one."""

from __future__ import annotations

from pathlib import Path

import typer

from evoprune.display.printable import printable


def open_in_browser(page: Path) -> None:
    """Open a file in the user's browser, or say that there is none: nothing is lost for that."""
    import webbrowser

    address = page.resolve().as_uri()
    try:
        opened = webbrowser.open(address)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        typer.echo(printable(f"no browser was found here; open {page.resolve()} in one"), err=True)
