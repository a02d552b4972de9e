import json
from dataclasses import replace

import pytest

from evoprune.config.schema import make_config
from evoprune.errors import ConfigError
from evoprune.masks.member_genes import MemberGenes, MemberSpace
from evoprune.run.mask_population import ENCODING
from evoprune.store.states import StateFolder
from tests.run.mask_directories import comparison, contents, journal, masks, steps
from tests.run.test_mask_resume import Stop, Stopped, count_events

GENES = MemberGenes((1.0,) * 3, exponent=0.5, rate=1.0, distills=False, regrows=True)
POPULATION = {"masks": {"mode": "population", "goals": [0.4, 0.6]}, "ga": {"pop_size": 3}}


@pytest.fixture
def population_run(mask_run):
    def start(name="run", *, listeners=(), **sections):
        merged = {key: {**POPULATION.get(key, {}), **sections.get(key, {})} for key in {*POPULATION, *sections}}
        return mask_run(name, listeners=listeners, **merged)

    return start


def test_members_go_on_from_the_states_of_their_parents_and_the_best_one_is_the_steps_result(population_run):
    directory = population_run()
    first, second = journal(directory)[:3], journal(directory)[3:]
    left = {line["genome"]: line["state"] for line in first}
    assert [line["start"] for line in second] == [left[line["parents"][0]] for line in second]
    assert [line["encoding"] for line in first] == [ENCODING] * 3
    best = [max(lines, key=lambda line: line["fitness"])["state"] for lines in (first, second)]
    assert [step["state"] for step in steps(directory)] == best


def test_weights_come_back_and_the_goal_is_met_as_well(population_run, monkeypatch):
    # All first members regrow, so that it does not hang on which of them wins.
    monkeypatch.setattr(
        MemberSpace, "first", lambda space: [space.encode(replace(GENES, rate=rate)) for rate in (0.5, 1.0, 2.0)]
    )
    directory = population_run(masks={"regrow": 0.2, "goals": [0.4, 0.6, 0.8]})
    found = steps(directory)
    folder = StateFolder(directory)
    earlier, last = (folder.get(step["state"]).alive for step in found[-2:])
    back = sum(int((last[name] & ~earlier[name]).sum()) for name in last)
    kept = sum(int(alive.sum()) for alive in last.values())
    assert 0 < back <= round(0.2 * kept)
    assert journal(directory)[-1]["objectives"]["sparsity"] == pytest.approx(0.8, abs=1e-3)
    assert contents(directory) == contents(population_run("again", masks={"regrow": 0.2, "goals": [0.4, 0.6, 0.8]}))


def test_every_member_meets_the_goal_and_the_network_is_as_sparse(population_run):
    directory = population_run()
    sparsity = [line["objectives"]["sparsity"] for line in journal(directory)]
    assert sparsity == pytest.approx([0.4] * 3 + [0.6] * 3, abs=1e-3)
    kept = sum(mask.sum() for mask in masks(directory).values())
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(
        1 - kept / sum(mask.size for mask in masks(directory).values())
    )


def test_states_that_nothing_leads_to_are_removed(population_run):
    directory = population_run()
    kept = {path.stem for path in (directory / "states").glob("*.safetensors")}
    last = {line["state"] for line in journal(directory)[3:]}
    assert {step["state"] for step in steps(directory)} | last <= kept
    assert len(kept) <= len(last) + 3
    assert all(StateFolder(directory).get(digest).alive for digest in kept)


@pytest.mark.slow
def test_resume_gives_the_same_when_a_population_was_stopped_half_way(population_run):
    whole = population_run("whole", masks={"distill": 0.5})
    last = count_events(whole)
    for moment in (last // 2, 3 * last // 4):
        name = f"stopped-{moment}"
        with pytest.raises(Stopped):
            population_run(name, listeners=(Stop(moment),), masks={"distill": 0.5})
        assert contents(population_run(name, masks={"distill": 0.5})) == contents(whole)


@pytest.mark.slow
def test_two_workers_write_the_journal_of_one(population_run):
    one, two = population_run("one"), population_run("two", execution={"workers": 2})
    assert contents(one) == contents(two)


def test_a_population_without_goals_or_rule_is_refused_with_what_to_set():
    for masks_, seeding in (({"goals": None}, "criteria"), ({}, "none")):
        with pytest.raises(ConfigError, match=r"masks\.mode population needs masks\.goals"):
            make_config(
                {"search": {"encoding": "weight-bits", "seeding": seeding}, "masks": {"mode": "population", **masks_}}
            )


def test_a_population_is_small_and_scored_on_all_of_select_by_default():
    config = make_config({"search": {"encoding": "keep-ratios"}, "masks": {"mode": "population"}})
    assert (config.ga.pop_size, config.fidelity.select_samples) == (4, None)
    assert json.loads(config.model_dump_json())["masks"]["mode"] == "population"
