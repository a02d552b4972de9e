import json
import os

import torch

import evoprune as package


def test_doctor_says_what_there_is(evoprune):
    done = evoprune("doctor")
    assert (done.code, done.err) == (0, "")
    assert package.__version__ in done.out
    assert torch.__version__ in done.out


def test_doctor_writes_json_and_names_what_is_missing(evoprune, cache, monkeypatch):
    monkeypatch.setattr("evoprune.cli.diagnosis.EXTRAS", {"flight": ("no-such-package",), "nets": ("torch",)})
    found = json.loads(evoprune("doctor", "--json").out)
    assert found["extras"]["flight"] == "no-such-package not installed; pip install 'evoprune[flight]'"
    assert found["extras"]["nets"] == f"torch {torch.__version__}"
    assert found["cache"]["folder"] == str(cache)
    assert found["threads"]["torch threads"] == str(torch.get_num_threads())


def test_doctor_counts_cores_where_the_system_has_no_affinities(evoprune, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert json.loads(evoprune("doctor", "--json").out)["threads"]["cores this process may use"] == "7"
