"""Whatever the bytes of a file, reading it gives a value or an error that says what is wrong: never a traceback."""

import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings

from evoprune.config.schema import make_config
from evoprune.config.yaml_files import parse_overrides, read_config
from evoprune.errors import ConfigError, EvopruneError, UsageError
from tests.fuzz import samples
from tests.fuzz.damage import damaged_bytes, damaged_documents

FEW = 40
MANY = pytest.param(400, marks=pytest.mark.slow)
LONGEST_S = 20
"""Far more than any example takes, far less than a hang."""


def check(contents, read, count, sound):
    """`read(content, an empty folder)` gives a value or an error of ours for each of `contents`."""

    @settings(max_examples=count)
    @given(contents)
    @example(sound)
    def never_anything_else(content):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                read(content, Path(folder))
            except EvopruneError:
                assert content is not sound
        assert time.monotonic() - started < LONGEST_S

    never_anything_else()


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("kind", samples.BYTES)
def test_reader_gives_a_value_or_a_clear_error_whatever_the_bytes(kind, count):
    make, read = samples.BYTES[kind]
    sound = make()
    check(damaged_bytes(sound), read, count, sound)


DOCUMENTS = {
    "journal": (lambda: [json.loads(one.to_line()) for one in samples.journal()], samples.read_journal_lines),
    "manifest": (samples.manifest, samples.read_manifest),
    "steps": (lambda: {"steps": [samples.step(0), samples.step(1)]}, samples.read_steps),
    "plan of an artifact": (
        lambda: json.loads(samples.channel_plan().to_json()),
        lambda document, folder: samples.read_resealed(folder, "plan.json", document, "plan_sha256"),
    ),
    "card of an artifact": (
        samples.card,
        lambda document, folder: samples.read_resealed(folder, "model.json", document, None),
    ),
}


@pytest.mark.parametrize("attributes", [{"0": {}}, {"conv1": {"__class__": 1}}, {"fc": {"training": 2}}], ids=str)
def test_artifact_whose_plan_sets_what_is_no_size_is_refused(tmp_path, attributes):
    """The first of them was found by a long session."""
    plan = json.loads(samples.channel_plan().to_json())
    plan["attributes"] |= attributes
    with pytest.raises(UsageError, match="the plan sets"):
        samples.read_resealed(tmp_path, "plan.json", plan, "plan_sha256")


@pytest.mark.slow
@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_reader_gives_a_value_or_a_clear_error_whatever_stands_in_the_document(kind, count):
    make, read = DOCUMENTS[kind]
    sound = make()
    check(damaged_documents(sound), read, count, sound)


def many_aliases(key):
    """Nine short lines that stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{one}: &a{one} [{', '.join([f'*a{one - 1}'] * 10)}]" for one in range(1, 9)]
    return "\n".join([*lines, f"{key}: *a8"])


@pytest.mark.parametrize("text", [many_aliases("recipe"), "search: {constraints: &a [*a]}", "ga: &a {ga: *a}"])
def test_read_config_refuses_aliases_that_stand_for_too_much(tmp_path, text):
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"bomb\.yaml is not valid YAML: (it holds more than|a value contains itself)"
    ):
        read_config(tmp_path / "bomb.yaml")


def test_read_config_takes_aliases_and_merged_keys(tmp_path):
    (tmp_path / "mine.yaml").write_text("training: {lr: &rate 0.1, retrain_lr: *rate}\nga: {<<: {pop_size: 4}}\n")
    config = make_config(read_config(tmp_path / "mine.yaml"))
    assert (config.training.retrain_lr, config.ga.pop_size) == (0.1, 4)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("data.dir=~nobody-here/x", "data.dir: there is no home directory for ~nobody-here"),
        ('masks.warm_start="a\\0b"', "masks.warm_start: a path has no character NUL"),
        (f"training.batch_size={'9' * 4000}", "training.batch_size: Input should be less than or equal to"),
        ("execution.device=cuda:99999999999999999999", "execution.device: must be auto, cpu, cuda or cuda:N"),
        ("execution.device=cuda:٣", "execution.device: must be auto, cpu, cuda or cuda:N"),
        (f"{'.'.join('a' * 5000)}=1", "is not of the form key.path=value"),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_settings_that_no_machine_can_use_are_refused_in_few_words(assignment, words):
    with pytest.raises(ConfigError, match=words):
        make_config(parse_overrides([assignment, assignment]))


def test_config_error_cuts_what_was_given(tmp_path):
    with pytest.raises(ConfigError) as caught:
        make_config({"ga": {"pop_size": "x" * 100_000}, "run": {"seed": [[[[["deep"]]]]] * 1000}})
    assert len(caught.value.message) < 2000
