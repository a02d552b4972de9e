from dataclasses import replace
from pathlib import Path

import pytest

from evoprune.config.schema import make_config
from evoprune.errors import ReplayMismatchError, StoreCorruptedError
from evoprune.store.atomic import write_json
from evoprune.store.claim import Claim
from evoprune.store.manifest import FORMAT, differences, new_manifest, read_manifest


@pytest.mark.parametrize(("status", "refused"), [("running", 1), ("done", 0)])
def test_other_versions_matter_only_where_something_is_left_to_compute(status, refused):
    begun = new_manifest({"seed": 0})
    old = replace(begun, status=status, versions={**begun.versions, "torch": "1.0"})
    assert len(differences(old, new_manifest({"seed": 0}))) == refused


def test_differences_name_the_setting_whatever_the_status():
    old = replace(new_manifest({"ga": {"pop_size": 4}}), status="done")
    assert differences(old, new_manifest({"ga": {"pop_size": 5}})) == ["ga.pop_size: 4 there, 5 here"]


def test_data_paths_are_absolute_so_that_a_resume_may_start_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_config({"data": {"dir": "mine", "checkpoint": "weights.pth"}}).data
    assert (data.dir, data.checkpoint) == (tmp_path / "mine", Path.cwd() / "weights.pth")


@pytest.mark.parametrize("newer", [FORMAT + 1, 10**400], ids=["next", "huge"])
def test_manifest_of_a_newer_evoprune_is_refused_by_name_whatever_else_it_holds(tmp_path, newer):
    document = {
        **new_manifest({"seed": 0}).to_json(),
        "format": newer,
        "evoprune": "9.1",
        "pinned": ["of", "another", "kind"],
    }
    write_json(tmp_path / "manifest.json", document)
    with pytest.raises(ReplayMismatchError, match=r"written by a newer evoprune, 9\.1: its manifest has format"):
        Claim(tmp_path, {"seed": 0})


DECIDED = {
    "pinned": {"data": {"train": "1"}},
    "channels_last": False,
    "baseline_sha256": "ab",
    "dense": {"accuracy": 0.5},
    "spent_s": 0.0,
    "stopped_before_generation": 3,
    "epochs_in_time": {"the last retraining": 1.5},
    "test_set_reads": 2,
}


def test_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = replace(new_manifest({"seed": 0}), **DECIDED)
    write_json(tmp_path / "manifest.json", manifest.to_json())
    assert read_manifest(tmp_path / "manifest.json") == manifest


def test_manifest_keeps_the_names_and_the_order_of_the_file():
    names = list(replace(new_manifest({}), **DECIDED).to_json())
    assert names[:5] == ["format", "status", "evoprune", "versions", "identity"]
    assert names[5:8] == ["pinned", "layout", "baseline_sha256"]
    assert list(new_manifest({}).to_json()) == names[:5]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "1"),
        ("layout", {"channels_last": 3}),
        ("spent_s", -1.0),
        ("spent_s", 10**400),
        ("epochs_in_time", {"baseline": float("nan")}),
        ("test_set_reads", True),
        ("stopped_before_generation", -1),
        ("crashes", []),
    ],
)
def test_manifest_is_refused_by_the_name_of_what_is_damaged(tmp_path, name, value):
    write_json(tmp_path / "manifest.json", {**new_manifest({"seed": 0}).to_json(), name: value})
    with pytest.raises(StoreCorruptedError, match=rf"manifest\.json is damaged: {name} can't be what it says"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("document", [None, {}, {"identity": 3}])
def test_manifest_of_something_else_is_none(tmp_path, document):
    if document is not None:
        write_json(tmp_path / "manifest.json", document)
    assert read_manifest(tmp_path / "manifest.json") is None
