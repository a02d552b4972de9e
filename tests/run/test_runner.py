from evoprune.events import Caution
from evoprune.run.factories.runs import execute


def test_run_says_once_that_a_setting_has_no_effect(tmp_path, small_config, tiny_source):
    events = []
    config = small_config({"ga": {"pop_size": 3, "num_generations": 1}, "masks": {"structure": "2:4"}})
    for _ in range(2):
        execute(config, tiny_source, tmp_path / "run", (events.append,))
    said = [event.detail for event in events if isinstance(event, Caution) and event.what == "settings"]
    assert said == ["masks.structure: of no effect on channels, only on weight masks"]
