def test_front_shows_the_points_of_a_finished_run(evoprune, finished):
    done = evoprune("front", finished)
    assert (done.code, done.err) == (0, "")
    assert "point" in done.out
    assert "macs" in done.out


def test_compare_shows_runs_side_by_side(evoprune, finished):
    done = evoprune("compare", finished, finished)
    assert (done.code, done.err) == (0, "")
    assert "pruned" in done.out


def test_both_refuse_a_directory_without_a_finished_run(evoprune, tmp_path):
    for command in ("front", "compare"):
        done = evoprune(command, tmp_path)
        assert done.code == 2
        assert "holds no finished run" in done.err
