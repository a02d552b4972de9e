import dataclasses
import inspect

import pytest

from evoprune import events
from evoprune.events import BatchHalved, Event, RunStarted, broadcast, ignore

KINDS = [kind for _, kind in inspect.getmembers(events, inspect.isclass) if issubclass(kind, Event)]


def test_broadcast_tells_all_listeners_in_order():
    heard = []
    listeners = (lambda event, name=name: heard.append((name, event)) for name in "ab")
    notify = broadcast(listeners)
    notify(RunStarted("runs/x", 3))
    notify(BatchHalved("retrain", 64))
    assert heard == [
        ("a", RunStarted("runs/x", 3)),
        ("b", RunStarted("runs/x", 3)),
        ("a", BatchHalved("retrain", 64)),
        ("b", BatchHalved("retrain", 64)),
    ]


def test_broadcast_to_nobody_and_ignore_do_nothing():
    event = BatchHalved("retrain", 64)
    assert broadcast([])(event) is None
    assert ignore(event) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_event_is_a_value_that_nobody_can_change(kind):
    fields = {field.name: 0 for field in dataclasses.fields(kind)}
    event = kind(**fields)
    assert event == kind(**fields)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.anything = 1
