"""What a resumed run must share with one that nothing disturbed."""

import json

from evoprune.report.model_card import CARD
from tests.run.mask_directories import comparison

TO_THE_SEED = ("evaluations.jsonl", "steps.json", "config.yaml")
FOLDERS = ("artifact", "solutions", "baseline", "states")


def outcome(directory):
    """Every file that the seed alone decides, by name, and whatever else lies in its folders but the card, which tells times."""
    paths = [directory / name for name in TO_THE_SEED]
    paths += [one for name in FOLDERS for one in sorted((directory / name).glob("*"))]
    paths = [path for path in paths if path.exists() and path.name != CARD]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def left_over(directory):
    """Hidden files that no process should have left."""
    return sorted(path.name for path in directory.rglob(".*") if path.name != ".lock")


def journal_lines(directory):
    path = directory / "evaluations.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def done(directory):
    path = directory / "manifest.json"
    return path.exists() and json.loads(path.read_text())["status"] == "done"


def events(directory):
    """Those that were written whole: of a run that is done nothing is mended any more."""
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().split("\n")[:-1]]


def evaluated(events_):
    return [line["index"] for line in events_ if line["event"] == "CandidateEvaluated" and not line["replayed"]]


def evaluated_since_the_last_start(directory):
    happened = events(directory)
    start = max(number for number, line in enumerate(happened) if line["event"] == "RunStarted")
    return evaluated(happened[start:])


def check_resumed(directory, whole, lines_before, moment=""):
    """See that nothing was lost, evaluated twice or left behind.

    Args:
        directory: Of the run that was killed and resumed.
        whole: Of one that nothing disturbed.
        lines_before: In the journal when the run was resumed; None when it was done by then.
        moment: For the message.
    """
    assert done(directory), moment
    assert outcome(directory) == outcome(whole), moment
    assert comparison(directory) == comparison(whole), moment
    assert left_over(directory) == [], moment
    happened = events(directory)
    assert len(evaluated(happened)) == len(set(evaluated(happened))), moment
    if lines_before is not None:
        new = list(range(lines_before, journal_lines(directory)))
        assert evaluated_since_the_last_start(directory) == new, moment
