import json

import pytest


@pytest.fixture
def front(evoprune, finished):
    """The directory of a finished run, and the numbers of its front."""
    document = json.loads((finished / "comparison.json").read_text())
    return finished, [point["index"] for point in document["front"]]


@pytest.mark.slow
def test_finish_shows_what_the_point_came_to_and_where_it_is(evoprune, front):
    directory, numbers = front
    done = evoprune("finish", directory, "--point", numbers[0], "--epochs", 0.5, "--set", "training.weight_decay=0")
    assert (done.code, done.err) == (0, "")
    out = directory / "points" / str(numbers[0])
    assert f"baseline against point {numbers[0]}" in done.out
    assert f"the network is in {out}; evoprune.load reads it" in done.out
    again = evoprune("finish", directory, "--point", numbers[0])
    assert (again.code, "choose another --out" in again.err) == (2, True)


@pytest.mark.slow
def test_finish_takes_bounds_and_says_what_it_chose(evoprune, front):
    directory, numbers = front
    done = evoprune("finish", directory, "--constraint", "macs<=1", "--constraint", "loss<=1e3", "--epochs", 0)
    assert done.code == 0, done.err
    assert "the best by loss that keeps macs<=1 and loss<=1e3" in done.out
    assert {path.name for path in (directory / "points").iterdir()} < set(map(str, numbers))


@pytest.mark.slow
def test_finish_exits_with_two_for_points_and_bounds_that_lead_nowhere(evoprune, front):
    directory, numbers = front
    listed = ", ".join(map(str, numbers))
    for arguments, message in (
        (["--point", 9999], f"has no point 9999: it has {listed}"),
        (["--constraint", "macs<=0.0001"], "the nearest is"),
        (["--constraint", "latency_ms<=3"], "has not measured latency_ms"),
        ([], "give one of the two"),
    ):
        done = evoprune("finish", directory, *arguments)
        assert done.code == 2
        assert message in done.err
        assert len(done.err.splitlines()) <= 2
    assert not (directory / "points").exists()


def test_finish_exits_with_two_without_a_run(evoprune, tmp_path):
    done = evoprune("finish", tmp_path, "--point", 0)
    assert done.code == 2
    assert "is not a run directory" in done.err
