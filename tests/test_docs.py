"""The documentation says what is true: settings, commands and links."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from evoprune.cli.app import app
from evoprune.config.recipes import recipe_defaults
from evoprune.config.schema import Config, make_config
from evoprune.plugins import BUILT_IN, resolve

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]


def settings_reference() -> str:
    """The tables of docs/guide/configuration.md, from the configuration's own descriptions."""
    parts = []
    for name, section in Config.model_fields.items():
        kind = section.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows = [
                f"| `{name}.{key}` | `{as_yaml(field.default)}` | {field.description} |"
                for key, field in kind.model_fields.items()
            ]
            parts.append(
                f"## `{name}`\n\n{kind.__doc__}\n\n| key | default | meaning |\n|---|---|---|\n" + "\n".join(rows)
            )
    return "\n\n".join(parts) + "\n"


def as_yaml(value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)).replace("'", "") if isinstance(value, tuple) else str(value)


def commands(page: Path) -> list[list[str]]:
    """`evoprune ...` lines of the page's code blocks, as arguments."""
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("evoprune ")]


def test_settings_page_lists_every_setting_with_its_default():
    page = (ROOT / "docs/guide/configuration.md").read_text()
    assert page.endswith(settings_reference()), f"the page should end with:\n{settings_reference()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_when_they_are_relative(page: Path):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("arguments", [command for page in PAGES for command in commands(page)], ids=" ".join)
def test_command_in_the_documentation_has_options_that_exist(arguments: list[str]):
    result = CliRunner().invoke(app, [arguments[0], "--help"])
    assert result.exit_code == 0, f"there is no command {arguments[0]!r}"
    options = {part.split("=")[0] for part in arguments if part.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", result.output)) | {"--help"}


@pytest.mark.parametrize("recipe", BUILT_IN["recipes"])
def test_recipe_settings_are_valid_and_train_what_does_not_come_trained(recipe: str):
    assert (ROOT / f"src/evoprune/recipes/{recipe}.yaml").is_file()
    trains = make_config(recipe_defaults(recipe)).training.epochs > 0
    assert trains != ("pretrained" in inspect.signature(resolve("recipes", recipe)).parameters)
