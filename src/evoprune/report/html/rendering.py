"""The page's templates: whatever stands in a run is text there, and never markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.result import Result
from evoprune.report.html.wording import shown

FOLDER: Final = Path(__file__).parent / "templates"


def rendered(facts: RunFacts, result: Result, sections: list[Section]) -> str:
    """The page of a run."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    data = {section.id: section.data for section in sections if section.data is not None}
    return environment.get_template("page.html.j2").render(
        facts=facts,
        result=result,
        sections=sections,
        data=_for_script(data),
        style=_part("style.css"),
        script=_part("script.js"),
    )


def _for_script(document: Any) -> str:
    """JSON that ends no script element, whatever text is in it."""
    text = json.dumps(document, separators=(",", ":"))  # ASCII alone, so that halves of surrogate pairs can be written
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _part(name: str) -> str:
    """A part of the page that is ours."""
    return (FOLDER / name).read_text(encoding="utf-8")
