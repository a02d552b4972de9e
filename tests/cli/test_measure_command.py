from functools import partial

import pytest

from evoprune.channels.latency.measure import Effort, measure_latency
from evoprune.cli import measuring
from evoprune.space.latency_files import tables_of

TINY = "evoprune.testing.tiny:tiny_recipe"
LITTLE = Effort(rounds=1, layers_s=0.0, networks_s=0.0, fitted=3, held_out=1)


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(measuring, "measure_latency", partial(measure_latency, effort=LITTLE))


def test_measure_writes_a_table_for_each_batch(evoprune, tmp_path):
    out = tmp_path / "latency.json"
    done = evoprune("measure", TINY, "--batch", 4, "--batch", 2, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert [one.conditions.batch for one in tables_of(out.read_text())] == [2, 4]
    assert "batch 4:" in done.out
    assert "search.latency_table=" in done.out


def test_measure_takes_the_batch_of_the_example_inputs_and_replaces_a_table(evoprune, tmp_path):
    out = tmp_path / "latency.json"
    for threads in (1, 1):
        assert evoprune("measure", TINY, "--threads", threads, "--out", out).code == 0
    (table,) = tables_of(out.read_text())
    assert (table.conditions.batch, table.conditions.threads) == (1, 1)


@pytest.mark.usefixtures("onnx_installed")
def test_measure_writes_a_table_for_each_runtime(evoprune, tmp_path):
    out = tmp_path / "latency.json"
    done = evoprune("measure", TINY, "--batch", 4, "--runtime", "eager", "--runtime", "onnxruntime", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert [one.conditions.runtime_name for one in tables_of(out.read_text())] == ["eager", "onnxruntime"]
    assert "1 threads, onnxruntime " in done.out


def test_measure_overwrites_nothing_else(evoprune, tmp_path):
    out = tmp_path / "notes.txt"
    out.write_text("mine")
    done = evoprune("measure", TINY, "--out", out)
    assert (done.code, out.read_text()) == (2, "mine")
    assert "is no latency table" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "cuda:77"), "--device is cuda:77, but torch sees"),
        (("--device", "abacus"), "--device is 'abacus', which is no device"),
        (("--runtime", "tvm"), "'tvm' is no runtime"),
        (("--batch", "0"), "greater than or equal to 1"),
    ],
)
def test_measure_refuses_what_is_not_there(evoprune, tmp_path, arguments, said):
    done = evoprune("measure", TINY, "--out", tmp_path / "latency.json", *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "latency.json").exists()
