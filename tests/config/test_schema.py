from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evoprune.config.given import as_mapping
from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import parse_overrides, plain_settings, read_config
from evoprune.errors import ConfigError


def problems(*assignments):
    with pytest.raises(ConfigError) as caught:
        make_config(parse_overrides(assignments))
    return caught.value.message


@pytest.mark.parametrize(
    ("assignment", "key", "accepted"),
    [
        ("ga.pop_size=1", "ga.pop_size", "greater than or equal to 2"),
        ("ga.pop_size=-3", "ga.pop_size", "greater than or equal to 2"),
        ("ga.pop_size=ten", "ga.pop_size", "valid integer"),
        ("ga.pop_size=2.5", "ga.pop_size", "valid integer"),
        ("ga.num_generations=0", "ga.num_generations", "greater than or equal to 1"),
        ("ga.mutation_rate=2", "ga.mutation_rate", "less than or equal to 1"),
        ("ga.mutation_rate=-0.1", "ga.mutation_rate", "greater than or equal to 0"),
        ("ga.mutation_rate=.nan", "ga.mutation_rate", "less than or equal to 1"),
        ("ga.crossover_rate=1.5", "ga.crossover_rate", "less than or equal to 1"),
        ("ga.tournament_size=99", "ga", "tournament_size must be at most pop_size"),
        ("ga.initial_keep=[0.9, 0.2]", "ga", "the lower first"),
        ("ga.initial_keep=[0.5]", "ga.initial_keep", "Field required"),
        ("training.epochs=-1", "training.epochs", "greater than or equal to 0"),
        ("training.epochs=.inf", "training.epochs", "finite number"),
        ("training.finetune_epochs=-0.5", "training.finetune_epochs", "greater than or equal to 0"),
        ("training.finetune_steps=-5", "training.finetune_steps", "greater than or equal to 0"),
        ("training.retrain_epochs=-1", "training.retrain_epochs", "greater than or equal to 0"),
        ("training.batch_size=0", "training.batch_size", "greater than or equal to 1"),
        ("training.batch_size=[1, 2]", "training.batch_size", "valid integer"),
        ("training.lr=0", "training.lr", "greater than 0"),
        ("training.lr=fast", "training.lr", "valid number"),
        ("training.optimizer=adam", "training.optimizer", "'adamw' or 'sgd'"),
        ("fitness.w_acc=-1", "fitness.w_acc", "greater than or equal to 0"),
        ("search.objectives=[]", "search.objectives", "at least 1 item"),
        ("search.constraints=[macs<0.5]", "search.constraints", "not of the form macs<=0.5"),
        ("search.round_to=0", "search.round_to", "greater than or equal to 1"),
        ("execution.workers=0", "execution.workers", "greater than or equal to 1"),
        ("execution.workers=many", "execution.workers", "'auto'"),
        ("execution.device=gpu", "execution.device", "auto, cpu, cuda or cuda:N"),
        ("execution.candidate_threads=0", "execution.candidate_threads", "greater than or equal to 1"),
        ("run.seed=-1", "run.seed", "greater than or equal to 0"),
        ("run.seed=9223372036854775808", "run.seed", "less than 9223372036854775808"),
        ("run.time_budget=soon", "run.time_budget", "90s, 30m or 1h30m"),
        ("run.time_budget=0", "run.time_budget", "must be positive"),
        ("run.time_budget=-5m", "run.time_budget", "90s, 30m or 1h30m"),
        ("data.select_size=0", "data.select_size", "greater than or equal to 1"),
        ("training=5", "training", "valid dictionary"),
    ],
)
def test_make_config_names_key_and_what_is_accepted_when_a_value_is_wrong(assignment, key, accepted):
    message = problems(assignment)
    assert message.startswith(f"{key}")
    assert accepted in message


@pytest.mark.parametrize("algorithm", ["genetic", "my_package.search:Mine"])
def test_make_config_refuses_an_elite_of_everybody_on_searches_that_keep_one(algorithm):
    assert "ga.elitism=2 must be below ga.pop_size=2" in problems(f"search.algorithm={algorithm}", "ga.pop_size=2")


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["search.constraints=macs<=0.5"],
        *([f"search.algorithm={name}"] for name in ("steady-state", "nsga2", "nsga3", "random")),
        ["search.encoding=neuron-bits", "masks.mode=population", "ga.elitism=2"],
    ],
)
def test_make_config_takes_a_population_of_two_on_searches_without_an_elite(assignments):
    assert make_config(parse_overrides(["ga.pop_size=2", *assignments])).ga.pop_size == 2


def test_make_config_shows_the_value_given_and_what_the_setting_is():
    message = problems("ga.mutation_rate=2")
    assert "given: 2" in message
    assert "or that a bit flips" in message


def test_make_config_refuses_weights_that_are_all_zero():
    assert "the weights can't all be 0" in problems("fitness.w_loss=0", "fitness.w_macs=0")
    assert make_config(parse_overrides(["fitness.w_acc=0"])).fitness.w_macs > 0


def test_make_config_lists_every_problem_when_there_are_several():
    message = problems(
        "ga.pop_size=1", "training.epochs=-1", "fitness.w_loss=0", "fitness.w_macs=0", "nonsense.a=1", "run.sed=3"
    )
    first, *lines = message.splitlines()
    assert first == "5 settings are wrong:"
    expected = ("ga.pop_size", "training.epochs", "can't all be 0", "nonsense is not", "run.sed is not")
    assert [sum(part in line for line in lines) for part in expected] == [1] * 5


def test_make_config_counts_a_setting_once_when_it_accepts_several_kinds():
    message = problems("execution.workers=many")
    assert message.startswith("execution.workers: ")
    assert "valid integer" in message
    assert "or Input should be 'auto' (given: 'many')" in message


@pytest.mark.parametrize(
    ("assignment", "unknown", "known"),
    [
        ("ga.popsize=4", "ga.popsize", "pop_size"),
        ("trainig.epochs=4", "trainig", "training"),
        ("recipes=mnist", "recipes", "recipe"),
        ("run.seed.deep=1", "run.seed", "integer"),
    ],
)
def test_make_config_lists_the_known_keys_when_one_is_unknown(assignment, unknown, known):
    message = problems(assignment)
    assert message.startswith(unknown)
    assert known in message


def test_make_config_refuses_keys_that_are_not_text():
    with pytest.raises(ConfigError, match="3"):
        make_config({3: 4})
    with pytest.raises(ConfigError, match="ga"):
        make_config({"ga": {True: 4}})


def test_make_config_lets_later_layers_override_key_by_key():
    config = make_config({"ga": {"pop_size": 4, "elitism": 1}}, {"ga": {"pop_size": 6}})
    assert (config.ga.pop_size, config.ga.elitism) == (6, 1)
    assert config.ga.num_generations == Config().ga.num_generations


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("45", 45), (12.5, 12.5)]
)
def test_time_budget_is_read_in_seconds(text, seconds):
    assert make_config({"run": {"time_budget": text}}).run.time_budget == seconds


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\x00", "training: {lr: 1", "%YAML 9\n---\na: *x", "a: 2020-13-45"]
)
def test_read_config_says_which_file_when_it_is_not_yaml(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml is not valid YAML"):
        read_config(path)


def test_read_config_refuses_what_is_no_mapping(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- training\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="sections such as `training:`"):
        read_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't read the configuration"):
        read_config(path)
    with pytest.raises(ConfigError, match="can't read the configuration"):
        read_config(tmp_path / "missing.yaml")


def test_read_config_executes_nothing(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"run: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'owned'}]\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(path)
    assert not (tmp_path / "owned").exists()


def test_config_survives_its_own_yaml(tmp_path):
    config = make_config(parse_overrides(["ga.initial_keep=[0.3, 0.7]", "data.dir=/x", "run.time_budget=90s"]))
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert make_config(read_config(path)) == config


def test_parse_overrides_reads_values_as_yaml():
    parsed = parse_overrides(["ga.pop_size=10", "training.lr=1e-3", "data.dir=", "run.out=a=b", "ga.elitism=1"])
    assert parsed == {
        "ga": {"pop_size": 10, "elitism": 1},
        "training": {"lr": "1e-3"},
        "data": {"dir": None},
        "run": {"out": "a=b"},
    }
    assert make_config(parsed).training.lr == 1e-3


@pytest.mark.parametrize("assignment", ["ga.pop_size", "=4", "ga..pop_size=4", ".=1", "ga.pop_size 4", ""])
def test_parse_overrides_shows_the_form_when_an_assignment_has_another(assignment):
    with pytest.raises(ConfigError, match=r"ga\.pop_size=10"):
        parse_overrides([assignment])


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[1", "{a", "2020-13-45", "[" * 5000, "*nothing", "\x00"])
def test_parse_overrides_refuses_values_that_are_not_yaml(text):
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_overrides([f"ga.pop_size={text}"])


@given(
    st.text(max_size=30), st.sampled_from(["ga.pop_size", "training.lr", "run.time_budget", "search.constraints", "ga"])
)
def test_settings_are_accepted_or_refused_by_a_config_error_whatever_they_are(text, key):
    try:
        config = make_config(parse_overrides([f"{key}={text}"]))
    except ConfigError:
        return
    assert make_config(yaml.safe_load(config.to_yaml())) == config


def test_identity_ignores_what_cannot_change_the_result():
    config = make_config({})
    changed = parse_overrides(
        ["run.out=elsewhere", "execution.workers=7", "execution.executor=process-pool", "data.dir=/d", "timing.batch=9"]
    )
    assert make_config(changed).identity() == config.identity()
    assert make_config({"run": {"seed": 1}}).identity() != config.identity()
    assert make_config({"execution": {"candidate_threads": 2}}).identity() != config.identity()


def test_config_cannot_be_changed():
    config = Config(data={"dir": Path("/d")})
    with pytest.raises(ValueError, match="frozen"):
        config.ga.pop_size = 4
    assert config.data.dir == Path("/d")


@pytest.mark.parametrize("encoding", ["keep-ratios", "threshold-exceptions"])
def test_make_config_asks_for_goals_and_orders_where_ratios_need_them(encoding):
    assert "needs masks.goals" in problems(f"search.encoding={encoding}", "masks.goals=null")
    assert "search.seeding none" in problems(f"search.encoding={encoding}", "search.seeding=none")


def test_parse_overrides_reads_n_of_m_as_text():
    assert parse_overrides(["masks.structure=2:4"]) == {"masks": {"structure": "2:4"}}
    assert make_config(parse_overrides(["masks.structure=4:8"])).masks.structure == "4:8"


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("-0.5", -0.5), (".5", 0.5), ("1_000", 1000), ("0x10", 16), ("1.5e3", 1500.0)]
)
def test_parse_overrides_reads_numbers(text, value):
    assert parse_overrides([f"a={text}"]) == {"a": value}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"data": {"dir": Path("/d")}}, {"data": {"dir": "/d"}}),
        ({"ga": MappingProxyType({"initial_keep": (0.1, 0.9)})}, {"ga": {"initial_keep": [0.1, 0.9]}}),
    ],
)
def test_plain_settings_are_what_a_file_would_hold(given, expected):
    assert plain_settings(given) == expected


def test_plain_settings_leave_what_is_wrong_to_the_configuration():
    with pytest.raises(ConfigError, match=r"ga\.pop_size"):
        make_config(plain_settings({"ga": {"pop_size": object()}}))


def test_masks_bred_without_the_loss_have_the_metric_for_an_objective():
    masks = {"search": {"encoding": "weight-bits"}}
    assert make_config(masks).search.objectives == ("loss", "sparsity")
    assert make_config(masks, {"fitness": {"w_acc": 1, "w_loss": 0}}).search.objectives == ("accuracy", "sparsity")
    chosen = {"search": {"encoding": "weight-bits", "objectives": ["loss"]}, "fitness": {"w_acc": 1, "w_loss": 0}}
    assert make_config(chosen).search.objectives == ("loss",)
    assert make_config({"fitness": {"w_acc": 1, "w_loss": 0}}).search.objectives == ("accuracy", "macs")


@pytest.mark.parametrize("section", ["search", "ga", "masks", "run"])
@pytest.mark.parametrize("value", ["macs", 3, ["a"]])
def test_make_config_refuses_what_is_no_section_whatever_comes_after_it(section, value):
    for later in ({}, {section: {}}, {"search": {"constraints": ["macs<=0.5"]}, "run": {"seed": 3}}):
        with pytest.raises(ConfigError, match=rf"{section}: .*valid dictionary"):
            make_config({section: value}, later)


def test_make_config_takes_a_section_without_settings_for_an_empty_one():
    assert make_config({"ga": None}, {"ga": {"pop_size": 7}}) == make_config({"ga": {"pop_size": 7}})
    assert make_config({"ga": {"pop_size": 7}}, {"ga": None}) == make_config({"ga": {"pop_size": 7}})


@pytest.mark.parametrize("encoding", [["weight-bits"], {"a": 1}, 3])
def test_make_config_refuses_an_encoding_that_is_no_text(encoding):
    with pytest.raises(ConfigError, match=r"search\.encoding"):
        make_config({"search": {"encoding": encoding}})


@pytest.mark.parametrize("settings", [3, ["a"], object()])
def test_settings_that_are_none_are_refused(settings):
    with pytest.raises(ConfigError, match="holds no settings"):
        as_mapping(settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 32),
        ({"search": {"constraints": ["accuracy>=0.9"]}}, 32),
        ({"search": {"algorithm": "ladder-front", "constraints": ["macs<=0.5"]}}, 32),
        ({"search": {"encoding": "channel-bits"}}, 32),
        ({"search": {"constraints": ["macs<=0.5"]}}, 24),
        ({"search": {"constraints": "latency_ms@batch=8<=3ms"}}, 24),
        ({"search": {"algorithm": "genetic"}}, 24),
        ({"search": {"preset": "classic"}}, 12),
        ({"search": {"encoding": "keep-ratios"}}, 20),
        ({"ga": {"pop_size": 10}}, 10),
    ],
)
def test_a_front_has_a_larger_population_unless_that_is_set(settings, expected):
    assert make_config(settings).ga.pop_size == expected


def test_a_front_of_a_recipe_with_a_budget_has_the_population_of_a_front():
    recipe = {"search": {"constraints": ["macs<=0.1"]}, "ga": {"pop_size": 16}}
    assert make_config({}, recipe=recipe).ga.pop_size == 16
    assert make_config({"search": {"constraints": []}}, recipe=recipe).ga.pop_size == 32
