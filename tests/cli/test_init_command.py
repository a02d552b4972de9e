import importlib

import pytest
import yaml


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_init_writes_a_recipe_and_its_settings_and_says_what_to_do_next(evoprune, folder):
    done = evoprune("init", "mine_a.py")
    assert (done.code, done.err) == (0, "")
    assert "evoprune run mine_a.yaml" in done.out
    assert (folder / "mine_a.py").read_text().count("CHANGE") >= 4
    assert yaml.safe_load((folder / "mine_a.yaml").read_text())["recipe"] == "mine_a:recipe"


def test_recipe_of_init_is_one(evoprune, folder, seeded_torch):
    evoprune("init", "mine_b.py")
    model, task, example_inputs = importlib.import_module("mine_b").recipe(seed=3)
    assert model(example_inputs).shape == (1, 4)
    assert (len(task.train), len(task.val), len(task.test)) == (1024, 256, 256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-recipe.py", "can't be imported"),
        ("recipe.txt", "can't be imported"),
        ("there.py", "is there already"),
        ("nowhere/mine.py", "there is no folder nowhere"),
        (".", "can't be imported"),
        ("torch.py", "would hide the module torch"),
        ("random.py", "would hide the module random"),
    ],
)
def test_init_refuses_names_that_would_not_do(evoprune, folder, name, message):
    (folder / "there.py").write_text("precious")
    done = evoprune("init", name)
    assert (done.code, message in done.err) == (2, True)
    assert [path.name for path in folder.iterdir()] == ["there.py"]


def test_init_leaves_settings_that_are_there_alone(evoprune, folder):
    (folder / "mine.yaml").write_text("precious")
    assert evoprune("init", "mine.py").code == 2
    assert not (folder / "mine.py").exists()


@pytest.mark.slow
def test_recipe_of_init_runs_as_it_stands_and_prunes_a_network_that_has_learnt(evoprune, folder):
    import json

    evoprune("init", "mine_c.py")
    done = evoprune("run", "mine_c.yaml", "--json", "--workers", 1)
    assert done.code == 0, done.err
    found = json.loads(done.out)["comparison"]
    assert found["baseline"]["accuracy"] > 0.9
    assert found["pruned"]["macs"] <= 0.4 * found["baseline"]["macs"]
    assert (folder / "runs/mine_c/artifact/model.json").is_file()
