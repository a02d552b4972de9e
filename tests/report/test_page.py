"""`report.html`: what it says is what the run's files say, whatever is in them."""

import json
import re
import shlex

import pytest

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.report.html.page import page_of, write_page
from evoprune.report.writer import ensure_report, write_report
from tests.report.channel_runs import ChannelRun
from tests.report.mask_runs import MaskRun
from tests.report.pages import Page
from tests.report.test_hostile_names import HOSTILE

SCRIPT = "<script>alert(1)</script>"
MOST_BYTES = 1_000_000


def changed(directory, file, change):
    path = directory / file
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return directory


def data_of(text):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert not set("<>&") & set(found[1])  # nothing in it ends the element or begins another
    return json.loads(found[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ChannelRun().write(tmp_path_factory.mktemp("runs") / "made")


@pytest.fixture(scope="module")
def page(made):
    return Page(page_of(made))


def test_sections_stand_in_their_order(page):
    assert page.ids() == [
        "asked", "comparison", "front", "fitness", "widths", "genes", "lineage", "latency", "failures", "cost", "reproduce"
    ]  # fmt: skip


def test_table_has_the_figures_of_the_comparison(made, page):
    document = json.loads((made / "comparison.json").read_text())
    models = [document[name] for name in ("baseline", "pruned", "criterion")]
    dense, evolved, change, rival, _ = page.rows["test accuracy"]
    assert [dense, evolved, rival] == [f"{100 * one['accuracy']:.2f} %" for one in models]
    assert change == f"{100 * (models[1]['accuracy'] - models[0]['accuracy']):+.2f} points"
    dense, evolved, change, rival, _ = page.rows["MACs"]
    assert [dense, evolved, rival] == [f"{one['macs']:,}" for one in models]
    assert change == f"{100 * (models[1]['macs'] / models[0]['macs'] - 1):+.1f} %"


def test_asked_and_reproduced_are_what_the_run_was_begun_with(made, page):
    assert "none: a front to choose from" in page.text
    assert f"evoprune run {made}/config.yaml --out runs/again" in page.text
    assert f"evoprune report {made}" in page.text
    assert "Seed 3" in page.text


AHEAD, LEVEL, BEHIND = "Ahead of the best criterion", "No clear gain over criteria", "Behind the best criterion"
RIVAL = "the best criterion's network (l2 global, trained alike)"


@pytest.mark.parametrize(
    ("gain", "error", "said", "badge"),
    [
        (0.004, 0.001, f"it is 0.40 ± 0.10 points better than {RIVAL}.", AHEAD),
        (0.004, 0.003, f"0.40 ± 0.30 points ahead of {RIVAL}, which is within chance.", LEVEL),
        (-0.004, 0.001, f"but {RIVAL} is 0.40 ± 0.10 points better.", BEHIND),
        (-0.001, 0.001, f"but {RIVAL} is 0.10 ± 0.10 points better, which is within chance.", BEHIND),
        (-0.004, None, f"but {RIVAL} is 0.40 points better.", BEHIND),
        (0.0, 0.001, f"it is level with {RIVAL}.", LEVEL),
    ],
)
def test_sentence_says_who_won(tmp_path, gain, error, said, badge):
    text = Page(page_of(ChannelRun(gain=gain, error=error).write(tmp_path))).text.replace("\N{NO-BREAK SPACE}", " ")
    assert said in text
    assert badge in text


def test_sentence_says_when_evolution_found_nothing_better(tmp_path):
    directory = ChannelRun(gain=0.0).write(tmp_path)

    def same(document):
        document["criterion"]["genome"] = document["pruned"]["genome"]

    text = Page(page_of(changed(directory, "comparison.json", same))).text
    assert "it is the cut of l2 global, the best criterion: evolution found no better one." in text


def test_sentence_turns_the_sign_of_a_metric_that_is_better_when_lower(tmp_path):
    directory = ChannelRun(gain=0.25, error=0.01).write(tmp_path)

    def error_metric(document):
        document["metric"] = {"name": "error", "unit": "px", "maximize": False}

    text = Page(page_of(changed(directory, "comparison.json", error_metric))).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "but the best criterion's network (l2 global, trained alike) is 0.25 ± 0.01 px better" in text


def test_cards_have_the_widths_the_costs_and_the_command_of_each_point(made):
    front = data_of(page_of(made))["front"]
    document, widths = (json.loads((made / name).read_text()) for name in ("comparison.json", "widths.json"))
    assert [group["size"] for group in front["groups"]] == [one["size"] for one in widths["groups"]]
    assert set(front["points"]) == {str(point["index"]) for point in document["front"]}
    for point in document["front"]:
        card = front["points"][str(point["index"])]
        assert card["widths"] == widths["networks"][point["genome"]]["widths"]
        rows = {name: searched for name, searched, _ in card["rows"]}
        assert rows["MACs"].startswith(f"{point['macs']:,} (")
        chosen = point["genome"] == document["pruned"]["genome"]
        assert card["command"] == ("" if chosen else f"evoprune finish {made} --point {point['index']}")


def test_card_of_a_point_that_was_finished_later_has_what_was_measured(tmp_path):
    run = ChannelRun()
    directory = run.write(tmp_path)
    document = run.document()
    point = next(one for one in document["front"] if one["genome"] != document["pruned"]["genome"])
    finished = directory / "points" / str(point["index"])
    finished.mkdir(parents=True)
    (finished / "comparison.json").write_text(json.dumps({**document, "pruned": {"accuracy": 0.4321, "params": 777}}))
    card = data_of(page_of(directory))["front"]["points"][str(point["index"])]
    assert ["accuracy", f"{100 * point['select_accuracy']:.2f} %", "43.21 %"] in card["rows"]
    assert ["parameters", "", "777"] in card["rows"]
    assert card["command"] == ""


def test_commands_are_python_where_the_run_was(tmp_path):
    cards = data_of(page_of(ChannelRun(recipe=None).write(tmp_path / "mine")))["front"]["points"]
    commands = [card["command"] for card in cards.values() if card["command"]]
    assert commands
    assert all(one.startswith(f"ep.finish('{tmp_path}/mine', point=") for one in commands)


def test_commands_can_be_typed_whatever_the_directory_is_called(tmp_path):
    directory = ChannelRun().write(tmp_path / "it's; rm -rf $HOME")
    text = Page(page_of(directory)).text
    command = re.findall(r"evoprune run .*? --out runs/again", text)[0]
    assert shlex.split(command)[2] == f"{directory}/config.yaml"


@pytest.mark.parametrize(
    ("file", "gone"),
    [
        ("widths.json", {"widths", "genes"}),
        ("events.jsonl", {"cost"}),
        ("config.yaml", set()),
    ],
)
def test_what_a_run_has_nothing_for_is_left_out(tmp_path, file, gone):
    directory = ChannelRun(failures=0).write(tmp_path)
    before = set(Page(page_of(directory)).ids())
    (directory / file).unlink()
    assert set(Page(page_of(directory)).ids()) == before - gone


def test_a_run_without_front_latency_and_criterion_has_no_empty_sections(tmp_path):
    directory = ChannelRun(criterion=None, failures=0).write(tmp_path)

    def bare(document):
        document["front"] = document["front"][:1]
        for model in (document["baseline"], document["pruned"]):
            del model["latency_ms"]
        del document["timings"]

    text = page_of(changed(directory, "comparison.json", bare))
    page = Page(text)
    assert {"front", "latency", "failures"}.isdisjoint(page.ids())
    assert page.rows["MACs"][:1] == ["4,241,152"]
    assert "criterion" not in page.text.partition("Lineage")[0].partition("What the best agree on")[0]


def test_names_and_messages_of_a_run_are_never_markup(tmp_path):
    groups = {SCRIPT: 32, '"><img src=x onerror=alert(1)>': 64, "</style><b>": 16}
    directory = ChannelRun(groups=groups, reason=f"loss of {SCRIPT}", criterion=SCRIPT, recipe=SCRIPT).write(tmp_path)
    (directory / "config.yaml").write_text(f"recipe: {SCRIPT}\n")

    def hostile(document):
        document["metric"]["name"] = SCRIPT

    text = page_of(changed(directory, "comparison.json", hostile))
    page = Page(text)
    assert page.elements.count("script") == 2
    assert not {"img", "b"} & set(page.elements)
    assert page.text.count(SCRIPT) > 4
    assert f"loss of {SCRIPT}" in page.text
    assert [group["name"] for group in data_of(text)["front"]["groups"]] == list(groups)


@pytest.mark.parametrize("mode", ["whole", "layers", "independent"])
def test_page_of_masks_takes_whatever_layers_are_called(tmp_path, mode):
    run = MaskRun(dict.fromkeys(HOSTILE, 100), mode=mode, goals=(0.5, 0.8), generations=2, candidates=2)
    path = write_page(run.write(tmp_path))
    page = Page(path.read_text(encoding="utf-8"))
    assert page.elements.count("script") == 2
    assert "x" * 200 not in page.text
    assert "\x1b" not in page.text


def test_page_of_masks_has_sections_of_its_own(tmp_path):
    run = MaskRun()
    page = Page(page_of(run.write(tmp_path)))
    assert page.ids() == ["comparison", "sparsity", "widths", "fitness", "reproduce"]
    document = run.document()
    kept, weights = (sum(layer[name] for layer in document["layers"]) for name in ("kept", "weights"))
    assert f"keeps {kept:,} of {weights:,} weights" in page.text
    assert all(f"{one['kept']:,} of {one['weights']:,}" in page.text for one in document["layers"])


def test_page_asks_nothing_of_the_network(made):
    text = page_of(made)
    assert not re.search(r"(?:https?:|//[a-z]|@import|\burl\()", text)
    sources = [value for _, one in Page(text).attributes for name, value in one.items() if name in ("src", "href")]
    assert all(one.startswith(("#", "data:,")) for one in sources)


def test_page_of_a_large_run_stays_below_a_megabyte(tmp_path):
    groups = {f"backbone.stages.{number}.blocks.attention.projection": 64 + number for number in range(300)}
    run = ChannelRun(groups=groups, candidates=900, generations=6, failures=200, reason="x" * 3000)
    assert len(run.document()["front"]) > 20
    assert write_page(run.write(tmp_path)).stat().st_size < MOST_BYTES


def test_page_is_the_same_for_the_same_run(made):
    assert page_of(made) == page_of(made)


def test_candidates_that_failed_are_told_with_their_reason(page):
    assert "8 of 88 candidates have no usable score." in page.text
    assert page.rows["8"] == ["failed", "the loss is not finite", "32, 33, 50, 51, 68, 69, 86, 87"]


def test_cautions_and_dead_workers_are_told(tmp_path):
    directory = ChannelRun(failures=0).write(tmp_path)
    events = [
        {"event": "Caution", "what": "metric", "detail": f"says little {SCRIPT}"},
        {"event": "WorkerDied", "genome": "1", "reason": "killed by signal 9", "retried": True},
    ]
    with (directory / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in events)
        file.write("{torn")
    text = Page(page_of(directory)).text
    assert f"metric: says little {SCRIPT}" in text
    assert "killed by signal 9; its candidate was tried again" in text


def test_latency_has_median_spread_and_why_nothing_was_saved(page):
    assert "1 sample, eager dense 0.185 ± 0.010 ms evolved 0.190 ± 0.015 ms +2.7 %" in page.text
    assert "Fewer MACs, but the time is +2.7 %. launches take it all" in page.text
    assert "256 samples, eager dense 20.5 ± 0.0 ms evolved 0.185 ± 0.010 ms -99.1 %" in page.text
    assert "not timed: onnxruntime (not installed)" in page.text
    assert "Measured on a CPU, cpu, 1 thread." in page.text
    # The best criterion's network was measured by another clock, beside the two.
    assert (
        "One sample, as in the comparison dense 0.185 ms evolved 0.099 ms -46.5 % best criterion (l2 global) 0.099 ms"
        in page.text
    )


def test_latency_of_older_runs_has_the_medians_alone(tmp_path):
    directory = changed(ChannelRun().write(tmp_path), "comparison.json", lambda document: document.pop("timings"))
    text = Page(page_of(directory)).text
    assert "One sample, as in the comparison dense 0.185 ms evolved 0.099 ms -46.5 %" in text
    assert "interquartile" not in text


def test_lineage_goes_back_to_the_first_generation(made, page):
    lines = {one["genome"]: one for one in map(json.loads, (made / "evaluations.jsonl").read_text().splitlines()[::-1])}
    winner = json.loads((made / "comparison.json").read_text())["pruned"]["genome"]
    ancestors, to_see = set(), [winner]
    while to_see:
        for parent in lines[to_see.pop()].get("parents", []):
            if parent not in ancestors:
                ancestors.add(parent)
                to_see.append(parent)
    assert f"It has {len(ancestors)} ancestors" in page.text
    assert all(f"candidate {lines[one]['index']}: " in page.text for one in ancestors)


def test_unfinished_run_is_refused_in_a_line(tmp_path):
    directory = ChannelRun().write(tmp_path)
    (directory / "comparison.json").unlink()
    with pytest.raises(UsageError, match=r"holds no finished run: it has no comparison\.json"):
        page_of(directory)


TOO_WIDE = {
    "groups": [{"name": "a", "size": 3, "layers": []}],
    "criteria": [],
    "networks": {"a": {"widths": [4], "criteria": []}},
    "frozen": {},
}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("widths.json", json.dumps(TOO_WIDE)),
        ("widths.json", '{"groups": 3}'),
        ("latency.json", "{}"),
        ("manifest.json", "{}"),
        ("points/3/comparison.json", "{}"),
    ],
)
def test_damaged_file_is_named(tmp_path, file, content):
    directory = ChannelRun().write(tmp_path)
    (directory / file).parent.mkdir(parents=True, exist_ok=True)
    (directory / file).write_text(content)
    with pytest.raises(StoreCorruptedError, match=f"{file} is damaged"):
        page_of(directory)


def test_report_is_written_with_the_figures_and_only_when_something_is_missing(tmp_path):
    directory = ChannelRun().write(tmp_path)
    assert write_report(directory) == directory / "report.html"
    assert {one.name for one in directory.glob("*.png")} == {"ga_fitness_evolution.png", "pareto_front.png"}
    (directory / "report.html").write_text("mine")
    ensure_report(directory)
    assert (directory / "report.html").read_text() == "mine"
    (directory / "report.html").unlink()
    ensure_report(directory)
    assert "<!doctype html>" in (directory / "report.html").read_text()
