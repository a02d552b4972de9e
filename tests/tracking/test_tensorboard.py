"""Event files are read again by TensorBoard's own reader."""

import pytest

from evoprune.errors import MissingDependencyError
from evoprune.events import RunStarted, TrainingProgress
from evoprune.tracking import TensorBoard


@pytest.fixture
def accumulator():
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")

    def read(folder):
        found = module.EventAccumulator(str(folder), size_guidance={module.SCALARS: 0})
        found.Reload()
        return found

    return read


@pytest.mark.slow
def test_run_is_kept_in_event_files(accumulator, tracked, tmp_path):
    comparison, journal = tracked(TensorBoard())
    found = accumulator(tmp_path / "run" / "tensorboard")
    scored = found.Scalars("candidates/loss")
    assert [one.step for one in scored] == [line["index"] for line in journal]
    assert scored[0].value == pytest.approx(journal[0]["objectives"]["loss"], rel=1e-6)
    (macs,) = found.Scalars("finished/pruned/macs")
    assert macs.value == comparison["pruned"]["macs"]
    assert "settings/text_summary" in found.Tags()["tensors"]


def test_what_was_written_before_a_run_stopped_is_there_once_it_is_closed(accumulator, tmp_path):
    listener = TensorBoard(tmp_path / "events")
    listener(RunStarted(str(tmp_path), 0))
    listener(TrainingProgress("baseline", 0, 1, 2, 4, 0.5))
    listener.close()
    listener(TrainingProgress("baseline", 0, 1, 3, 4, 0.5))
    assert [one.step for one in accumulator(tmp_path / "events").Scalars("baseline/loss")] == [2]


def test_missing_package_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"TensorBoard is not installed .*evoprune\[tensorboard\]"):
        TensorBoard()
