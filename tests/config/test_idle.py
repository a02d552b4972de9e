import pytest
import yaml

from evoprune.config.idle import idle_settings
from evoprune.config.recipes import resolve_recipe_config
from evoprune.config.schema import make_config
from evoprune.config.yaml_files import parse_overrides
from evoprune.plugins import BUILT_IN

MASKS = "search.encoding=weight-bits"
BITS = "search.encoding=channel-bits"
GENETIC = "search.algorithm=genetic"


@pytest.mark.parametrize(
    ("assignments", "line"),
    [
        (["masks.mode=layers", "masks.goals=[0.5]"], "masks.mode, masks.goals: of no effect on channels, only on weight masks"),
        (["fitness.w_sparsity=1"], "fitness.w_sparsity: of no effect on channels, only on weight masks"),
        (["search.algorithm=genetic", "search.share=0.5"], "search.share: of no effect on a search that is no ladder"),
        (["fidelity.select_samples=9"], "fidelity.select_samples: of no effect on a search ladder"),
        (["search.constraints=macs<=0.5", "training.finetune_lr=0.1"], "training.finetune_lr: of no effect under a budget"),
        (["ga.elitism=1"], "ga.elitism: of no effect on the search ladder-front"),
        (["ga.mutation=swap"], "ga.mutation: of no effect on channel-widths, which has operators of its own"),
        ([BITS, "ga.mutation=swap", "ga.crossover=single-point"], "ga.crossover: of no effect where ga.mutation is swap"),
        ([MASKS, "fitness.w_macs=1"], "fitness.w_macs: of no effect on weight masks, only on channels"),
        ([MASKS, "search.round_to=4"], "search.round_to: of no effect on weight masks, only on channels"),
        ([MASKS, "masks.order=backward"], "masks.order: of no effect in masks.mode whole"),
        ([MASKS, "masks.passes=3"], "masks.passes: of no effect where there are masks.goals"),
        ([MASKS, "masks.goals=0.5", "masks.between=2"], "masks.between: of no effect without several masks.goals"),
        ([MASKS, "masks.between_epochs=2"], "masks.between_epochs: of no effect without steps between the goals"),
        ([MASKS, "search.seeding=none", "masks.criteria=lamp"], "masks.criteria: of no effect on a search without any rule"),
        ([MASKS, "masks.criteria=lamp", "masks.fisher_samples=9"], "masks.fisher_samples: of no effect where no criterion"),
        ([MASKS, "masks.polish_generations=2"], "masks.polish_generations: of no effect on weight-bits"),
        ([MASKS, "masks.mode=population", "masks.margin=1", "ga.elitism=0"], "masks.margin, ga.elitism: of no effect in masks"),
        ([MASKS, "masks.distill_temperature=3"], "masks.distill_temperature: of no effect where nothing is distilled"),
        ([MASKS, "masks.regrow=0.1"], "masks.regrow: of no effect outside masks.mode population"),
        (["search.algorithm=random", "ga.mutation_rate=0.5"], "ga.mutation_rate: of no effect on the search random"),
        (["search.algorithm=nsga2", "ga.elitism=1"], "ga.elitism: of no effect on the search nsga2"),
        (["search.algorithm=steady-state", "ga.elitism=1"], "ga.elitism: of no effect on the search steady-state"),
        (["training.lr=0.1"], "training.lr: of no effect where the dense network isn't trained"),
        (["data.checkpoint=a.pth", "training.epochs=3"], "training.epochs: of no effect where data.checkpoint"),
        ([GENETIC, "training.finetune_steps=5", "training.finetune_epochs=1"], "training.finetune_epochs: of no effect where"),
        ([GENETIC, "training.finetune_epochs=0", "training.finetune_lr=1"], "training.finetune_lr: of no effect where"),
    ],
)  # fmt: skip
def test_setting_without_an_effect_is_named_with_the_reason(assignments, line):
    config = make_config(parse_overrides(assignments))
    assert any(one.startswith(line) for one in idle_settings(config)), idle_settings(config)
    assert idle_settings(make_config(yaml.safe_load(config.to_yaml()))) == idle_settings(config)


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        [MASKS],
        [MASKS, "masks.mode=layers", "masks.order=backward"],
        [MASKS, "masks.goals=null", "masks.passes=3"],
        [MASKS, "masks.between=1", "masks.between_epochs=2"],
        [MASKS, "masks.mode=population", "masks.fisher_samples=9", "masks.regrow=0.1", "ga.pop_size=8"],
        [BITS, "ga.mutation=prune", "ga.crossover=single-point"],
        ["search.preset=reference"],
        ["search.encoding=keep-ratios", "masks.polish_generations=2"],
        ["masks.layers=conv1", "search.share=0.5", "search.seeding=none", "fitness.w_macs=1", "search.round_to=4"],
        ["search.preset=classic"],
        ["training.epochs=3", "training.lr=0.1", "training.finetune_lr=0.1"],
        ["search.algorithm=my_package.search:Mine", "ga.elitism=1", "ga.mutation_rate=0.5"],
    ],
)
def test_nothing_is_said_of_settings_that_are_used(assignments):
    assert idle_settings(make_config(parse_overrides(assignments))) == []


@pytest.mark.parametrize("recipe", BUILT_IN["recipes"])
@pytest.mark.parametrize("encoding", [None, "channel-bits", "weight-bits"])
def test_nothing_is_said_of_what_a_recipe_sets(recipe, encoding):
    settings = {} if encoding is None else {"search": {"encoding": encoding}}
    assert idle_settings(resolve_recipe_config(recipe, settings)) == []
