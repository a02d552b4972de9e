"""`report.html` in a browser: it complains of nothing, asks nobody, fits phones, and answers to hand and keyboard."""

import json

import pytest

from evoprune.report.html.page import write_page
from tests.report.browser import Browser, chromium
from tests.report.channel_runs import ChannelRun
from tests.report.mask_runs import MaskRun
from tests.report.test_page import data_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium here: apt-get install chromium"),
]

SCRIPT = "<script>alert(1)</script>"
HOSTILE = {SCRIPT: 32, "layer1.0." + "x" * 300: 64, '"><img src=x onerror=alert(1)>': 128}
CARD = "document.getElementById('card').innerText"
TIP = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        "channels": ChannelRun(),
        "hostile": ChannelRun(groups=dict(HOSTILE), reason=SCRIPT + "y" * 3000, criterion=SCRIPT),
        "masks": MaskRun(),
        "layers": MaskRun(mode="layers"),
        "independent": MaskRun(mode="independent"),
    }
    return {name: write_page(run.write(folder / name)) for name, run in runs.items()}


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as one:
        yield one


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_complains_of_nothing_and_asks_nobody(pages, tmp_path, width, dark):
    with Browser(tmp_path / "profile", width=width, dark=dark, touch=width < 600) as browser:
        for path in pages.values():
            browser.requests.clear()
            browser.open(path)
            assert browser.errors == []
            assert browser.requests == [path.as_uri()]
            assert browser.value("document.documentElement.scrollWidth") == width
            sizes = browser.value(
                "[...document.querySelectorAll('svg.plot')].map(one => one.getBoundingClientRect().width)"
            )
            assert {size > 0 for size in sizes} == {True, False}  # one of the two sizes is shown


def test_colours_are_those_that_the_reader_prefers(pages, tmp_path):
    seen = {}
    for dark in (False, True):
        with Browser(tmp_path / f"profile{dark}", dark=dark) as browser:
            browser.open(pages["channels"])
            style = "getComputedStyle(document.body)"
            seen[dark] = browser.value(f"[{style}.color, {style}.backgroundColor]")
    assert seen[False] != seen[True]
    assert contrast(*seen[False]) > 7
    assert contrast(*seen[True]) > 7


def contrast(one, other):
    """Contrast of two colours as WCAG 2 has it."""
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_is_readable_on_its_ground(pages, tmp_path):
    script = """(() => [...document.querySelectorAll('main *')].filter(one => one.checkVisibility()
        && [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(one => {
        let ground = one;
        while (ground && getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        const style = getComputedStyle(one), svg = one instanceof SVGElement;
        return [svg ? style.fill : style.color, getComputedStyle(ground).backgroundColor, one.className.baseVal ?? one.className];
    }))()"""
    for dark in (False, True):
        with Browser(tmp_path / f"profile{dark}", dark=dark) as browser:
            browser.open(pages["channels"])
            found = {tuple(one) for one in browser.value(script)}
            assert len(found) > 10
            assert [one for one in found if contrast(one[0], one[1]) < 4.5] == []


def test_hover_tells_what_a_point_is(pages, browser):
    browser.open(pages["channels"])
    mark = "#front svg.wide g.front use[data-point]"
    assert browser.value(TIP) == ""
    browser.move(*browser.place(mark))
    told = browser.value(f"document.querySelector('{mark}').dataset.tip")
    assert browser.value(TIP).split("\n") == told.split("\n")
    assert told.startswith("candidate ")
    browser.move(2, 2)
    assert browser.value(TIP) == ""


def test_hover_tells_what_a_bar_is(pages, browser):
    browser.open(pages["hostile"])
    browser.move(*browser.place("#widths li"))
    assert browser.value(TIP).startswith(SCRIPT)
    assert browser.errors == []


def test_click_shows_the_point(pages, browser):
    browser.open(pages["channels"])
    front = data_of(pages["channels"].read_text())["front"]
    number = next(number for number, card in front["points"].items() if card["command"])
    assert front["points"][number]["command"] not in browser.value(CARD)
    browser.click(*browser.place(f"#front svg.wide use[data-point='{number}']"))
    card = front["points"][number]
    shown = browser.value(CARD)
    assert shown.startswith(card["title"])
    assert card["command"] in shown
    for group, width in zip(front["groups"], card["widths"], strict=True):
        assert f"{width} of {group['size']}" in shown
    pressed = "[...document.querySelectorAll('use[aria-pressed=true]')].map(one => one.dataset.point)"
    assert set(browser.value(pressed)) == {number}


def test_keyboard_goes_along_the_front_and_chooses(pages, browser):
    browser.open(pages["channels"])
    browser.value("document.querySelector('#front svg.wide use[data-point]').focus()")
    browser.press("ArrowRight")
    number = browser.value("document.activeElement.dataset.point")
    browser.press("Enter")
    assert browser.value(CARD).startswith(f"Point {number}")
    browser.press("Tab")
    assert browser.value("document.activeElement.getAttribute('role')") == "button"


def test_touch_chooses_on_a_phone(pages, tmp_path):
    with Browser(tmp_path / "profile", width=390, height=844, touch=True) as browser:
        browser.open(pages["channels"])
        front = data_of(pages["channels"].read_text())["front"]
        number = next(number for number, card in front["points"].items() if card["command"])
        browser.click(*browser.place(f"#front svg.narrow use[data-point='{number}']"))
        assert browser.value(CARD).startswith(f"Point {number}")


def test_command_is_copied_or_selected(pages, browser):
    browser.open(pages["channels"])
    browser.click(*browser.place("#reproduce button"))
    asked = "navigator.clipboard ? navigator.clipboard.readText().catch(() => '') : ''"
    copied = browser.value(asked) or browser.value("getSelection().toString()")
    label = browser.value("document.querySelector('#reproduce button').textContent")
    assert label == "Copied" or copied.startswith("evoprune run ")


def test_names_of_a_run_are_text_in_the_card(pages, browser):
    browser.open(pages["hostile"])
    assert browser.value("document.querySelector('#card .name').textContent") == SCRIPT
    assert browser.value("document.images.length") == 0
    assert json.dumps(browser.errors) == "[]"
