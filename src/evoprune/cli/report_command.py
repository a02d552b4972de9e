"""`evoprune report`: the page and the figures of a finished run, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import OpenPage
from evoprune.cli.page_opening import open_in_browser


def report_run(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    open_page: OpenPage = False,
) -> None:
    """Write report.html and the figures of a finished run again, with the points that were finished since.

    The page is one file that needs no network.
    """
    from evoprune.report.writer import write_report
    from evoprune.store.atomic import telling_of_full_disk

    with telling_of_full_disk(directory):
        page = write_report(directory)
    typer.echo(f"the report is in {page}")
    if open_page:
        open_in_browser(page)
