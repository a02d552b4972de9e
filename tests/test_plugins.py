import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from evoprune import plugins
from evoprune.errors import ConfigError, MissingDependencyError
from evoprune.plugins import BUILT_IN, EXTRAS, import_object, known_names, resolve


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of the test's own; what is imported from there is forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in set(sys.modules) - known:
        if (sys.modules[name].__spec__.origin or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def installed(monkeypatch):
    """Entry points as other packages would have them, by group."""
    points = []

    def entry_points(*, group):
        return [point for point in points if point.group == group]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return points


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names])
def test_resolve_finds_every_built_in(kind, name):
    if name in EXTRAS:
        pytest.importorskip(name)
    assert callable(resolve(kind, name))
    assert name in known_names(kind)


@pytest.mark.parametrize(
    ("kind", "name", "closest"),
    [("searches", "genetik", "genetic"), ("objectives", "param", "params"), ("recipes", "mnist_cnn", "mnist-cnn")],
)
def test_resolve_lists_known_names_closest_first_when_a_name_is_unknown(kind, name, closest):
    with pytest.raises(ConfigError, match=rf"'{name}' is not one of the {kind}: {closest}, ") as caught:
        resolve(kind, name)
    assert all(known in caught.value.message for known in BUILT_IN[kind])
    assert caught.value.message.count(f" {closest}") == 1
    assert "package.module:attribute" in caught.value.hint


def test_resolve_lists_known_names_when_none_is_close():
    with pytest.raises(ConfigError, match="genetic, ladder, ladder-front, nsga2, nsga3, random"):
        resolve("searches", "simulated annealing")


@pytest.mark.parametrize("path", ["a:", ":b", "a b:c", "a:b c", "a..b:c", "a:b:c", "a.py:c", "1a:b", "a/b:c", "a:b."])
def test_import_object_refuses_a_malformed_path(path):
    with pytest.raises(ConfigError, match=r"not of the form package\.module:attribute"):
        import_object(path.replace(".py", ".1py"))


def test_import_object_gives_nested_attributes():
    assert import_object("evoprune.genome:BitGenome.from_bits").__name__ == "from_bits"
    assert resolve("searches", "evoprune.seeding:SeedTree") is import_object("evoprune.seeding:SeedTree")


@pytest.mark.parametrize("path", ["no_such_module_at_all:x", "evoprune.nothing:x", "evoprune.genome.deeper:x"])
def test_import_object_says_so_when_there_is_no_such_module(path):
    with pytest.raises(ConfigError, match=f"no module '{path[:-2]}'"):
        import_object(path)


@pytest.mark.parametrize("attribute", ["Missing", "BitGenome.missing"])
def test_import_object_says_so_when_there_is_no_such_attribute(attribute):
    with pytest.raises(ConfigError, match=f"module 'evoprune.genome' has no '{attribute}'"):
        import_object(f"evoprune.genome:{attribute}")


def test_import_object_finds_a_module_in_the_working_directory(folder):
    (folder / "my_recipe_here.py").write_text("def recipe():\n    return 'mine'\n")
    assert resolve("recipes", "my_recipe_here:recipe")() == "mine"
    assert str(folder) in sys.path


def test_import_object_prefers_an_installed_module_to_one_in_the_working_directory(folder):
    (folder / "evoprune.py").write_text("raise RuntimeError('shadowed')\n")
    (folder / "json.py").write_text("raise RuntimeError('shadowed')\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from evoprune.plugins import import_object as i; print(i('json:dumps')([1]))"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr


def test_import_object_names_the_package_that_a_module_needs(folder):
    (folder / "needy_module.py").write_text("import a_package_nobody_has.part\n")
    with pytest.raises(MissingDependencyError, match="needy_module needs 'a_package_nobody_has'"):
        import_object("needy_module:x")


def test_import_object_does_not_hide_a_mistake_in_the_users_module(folder):
    (folder / "mistaken_module.py").write_text("value = 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_object("mistaken_module:value")


def test_resolve_finds_what_other_packages_offer(installed):
    installed.append(EntryPoint("hill-climber", "evoprune.seeding:SeedTree", "evoprune.searches"))
    assert resolve("searches", "hill-climber") is import_object("evoprune.seeding:SeedTree")
    assert "hill-climber" in known_names("searches")
    with pytest.raises(ConfigError, match="hill-climber, genetic"):
        resolve("searches", "hillclimber")
    with pytest.raises(ConfigError, match="not one of the objectives"):
        resolve("objectives", "hill-climber")


def test_resolve_names_the_package_that_an_offer_needs(installed, folder):
    (folder / "needy_plugin.py").write_text("import a_package_nobody_has\n")
    installed.append(EntryPoint("needy", "needy_plugin:Search", "evoprune.searches"))
    with pytest.raises(MissingDependencyError, match="needy_plugin needs 'a_package_nobody_has'"):
        resolve("searches", "needy")


def test_built_in_names_win_over_those_of_other_packages(installed):
    installed.append(EntryPoint("genetic", "evoprune.seeding:SeedTree", "evoprune.searches"))
    assert resolve("searches", "genetic") is import_object("evoprune.search.pymoo_adapter:genetic")
    assert known_names("searches").count("genetic") == 1
