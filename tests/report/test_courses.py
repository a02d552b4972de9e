"""The best so far of a mask run's searches, from its journal."""

from dataclasses import replace

import pytest

from evoprune.report.courses import courses, layers_apart
from tests.report.mask_runs import LENET, MaskRun, entries_of


def line(generation, fitness, *, step=0, encoding="keep-ratios", status="ok", accuracy=0.5, sparsity=0.5):
    values = {"accuracy": accuracy, "sparsity": 0.1, "layer_sparsity": sparsity}
    scored = {"objectives": values, "fitness": fitness}
    place = {"step": step, "encoding": encoding, "generation": generation, "status": status}
    place |= {"index": 0, "rung": 0, "genome": ""}
    return place | (scored if status == "ok" else {"objectives": {}})


def steps(*layers):
    (one,) = MaskRun(goals=(None,), generations=1).records
    return [replace(one, step=number, layers=tuple(names)) for number, names in enumerate(layers)]


def test_courses_keep_the_fittest_so_far_over_all_phases_of_a_step():
    journal = [
        line(0, 0.3, accuracy=0.9),
        line(0, 0.2, accuracy=0.95),
        line(1, 0.1),
        line(0, 0.4, encoding="weight-bits", accuracy=0.7),
    ]
    (course,) = courses(entries_of(journal), steps(["one", "two"]))
    assert [leader.fitness for leader in course.stretches[0].leaders] == [0.3, 0.3, 0.4]
    assert [leader.accuracy for leader in course.stretches[0].leaders] == [0.9, 0.9, 0.7]


def test_courses_leave_out_failures_and_steps_without_a_score():
    journal = [line(0, 0, status="failed"), line(1, 0.2), line(0, 0, step=1, status="infeasible")]
    (course,) = courses(entries_of(journal), steps(["one", "two"]))
    assert course.title == "step 1"
    assert len(course.stretches[0].leaders) == 1


def test_courses_of_layers_give_the_layers_own_sparsity():
    journal = [line(0, 0.1, sparsity=0.2), line(1, 0.2, sparsity=0.6), line(0, 0.1, step=1, sparsity=0.7)]
    first, second = courses(entries_of(journal), steps(["one"], ["two"]))
    assert (first.title, second.title) == ("one", "two")
    assert [leader.sparsity for leader in first.stretches[0].leaders] == [0.2, 0.6]


def test_courses_of_several_passes_stand_in_one_per_layer():
    run = MaskRun(mode="layers", goals=(0.5, 0.8), generations=3)
    found = courses(run.entries, run.records)
    assert [course.title for course in found] == list(LENET)
    assert [len(course.stretches) for course in found] == [2] * len(LENET)


def test_courses_of_independent_layers_come_from_their_histories():
    run = MaskRun(mode="independent", goals=(0.5,), generations=4)
    found = courses(run.entries, run.records)
    assert [course.title for course in found] == list(LENET)
    history = run.evaluations[0]["history"]
    assert [leader.fitness for leader in found[0].stretches[0].leaders] == [one["fitness"] for one in history]
    assert found[0].stretches[0].retraining.after == run.steps[0]["select_accuracy"]


@pytest.mark.parametrize(("mode", "expected"), [("whole", False), ("layers", True), ("independent", False)])
def test_layers_apart_tells_the_modes_apart(mode, expected):
    assert layers_apart(MaskRun(mode=mode, goals=(0.5, 0.8), generations=1).records) is expected
