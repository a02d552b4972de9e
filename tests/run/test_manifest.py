from pathlib import Path

import pytest

from evoprune.errors import ReplayMismatchError
from evoprune.run.claim import Claim
from evoprune.run.config import make_config
from evoprune.run.files import write_json
from evoprune.run.manifest import FORMAT, differences, new_manifest


@pytest.mark.parametrize(("status", "refused"), [("running", 1), ("done", 0)])
def test_other_versions_matter_only_where_something_is_left_to_compute(status, refused):
    old = {**new_manifest({"seed": 0}), "status": status}
    old["versions"] = {**old["versions"], "torch": "1.0"}
    assert len(differences(old, new_manifest({"seed": 0}))) == refused


def test_differences_name_the_setting_whatever_the_status():
    old = {**new_manifest({"ga": {"pop_size": 4}}), "status": "done"}
    assert differences(old, new_manifest({"ga": {"pop_size": 5}})) == ["ga.pop_size: 4 there, 5 here"]


def test_data_paths_are_absolute_so_that_a_resume_may_start_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_config({"data": {"dir": "mine", "checkpoint": "weights.pth"}}).data
    assert (data.dir, data.checkpoint) == (tmp_path / "mine", Path.cwd() / "weights.pth")


@pytest.mark.parametrize("newer", [FORMAT + 1, 10**400], ids=["next", "huge"])
def test_manifest_of_a_newer_evoprune_is_refused_by_name_whatever_else_it_holds(tmp_path, newer):
    document = {**new_manifest({"seed": 0}), "format": newer, "evoprune": "9.1", "pinned": ["of", "another", "kind"]}
    write_json(tmp_path / "manifest.json", document)
    with pytest.raises(ReplayMismatchError, match=r"written by a newer evoprune, 9\.1: its manifest has format"):
        Claim(tmp_path, {"seed": 0})
