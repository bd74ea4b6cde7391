"""Registries map names to classes, and explain unknown names and options."""

import importlib
import re
import sys

import pytest

from siamese_lab.registry import Registry, did_you_mean, options_of


class Base:
    def __init__(self, seed=0, size=None):
        self.seed = seed
        self.size = size


class Passing(Base):
    def __init__(self, margin=0.2, **base):
        super().__init__(**base)
        self.margin = margin


class Alone(Base):
    def __init__(self, cutoff=1.4):
        super().__init__()
        self.cutoff = cutoff


class Inheriting(Base):
    pass


@pytest.fixture
def registry():
    registry = Registry("widget")
    for name, cls in (("passing", Passing), ("alone", Alone), ("inheriting", Inheriting)):
        assert registry.register(name)(cls) is cls
    return registry


def test_the_names_are_sorted(registry):
    assert registry.available() == ("alone", "inheriting", "passing")


def test_build_passes_on_the_options(registry):
    built = registry.build("passing", margin=0.5, seed=7)
    assert type(built) is Passing
    assert (built.margin, built.seed, built.size) == (0.5, 7, None)


def test_an_unknown_name_is_refused_with_the_nearest(registry):
    with pytest.raises(
        ValueError,
        match=r"^There is no widget 'pasing'\. Did you mean 'passing'\? Available: alone, inheriting, passing\.$",
    ):
        registry.build("pasing")


def test_a_dissimilar_name_gets_no_suggestion(registry):
    with pytest.raises(ValueError, match=r"^There is no widget 'xyz'\. Available: alone, inheriting, passing\.$"):
        registry.build("xyz")


def test_an_unknown_option_is_refused_with_the_nearest(registry):
    with pytest.raises(
        ValueError,
        match=r"^The widget 'passing' has no option 'sead'\. Did you mean 'seed'\? Its options: margin, seed, size\.$",
    ):
        registry.build("passing", sead=1)


def test_an_option_of_the_base_is_refused_where_it_is_not_passed_on(registry):
    with pytest.raises(ValueError, match=r"^The widget 'alone' has no option 'seed'\. Its options: cutoff\.$"):
        registry.build("alone", seed=1)


@pytest.mark.parametrize(
    ("cls", "options"),
    [(Passing, ["margin", "seed", "size"]), (Alone, ["cutoff"]), (Inheriting, ["seed", "size"])],
)
def test_options_include_those_passed_on_to_the_base(cls, options):
    assert options_of(cls) == options


def test_two_classes_of_one_name_are_refused(registry):
    with pytest.raises(ValueError, match=r"^Two widgets have the name 'alone': .*Alone.* and .*Base.*\.$"):
        registry.register("alone")(Base)
    assert registry.classes["alone"] is Alone


def test_did_you_mean_suggests_the_nearest_name():
    assert did_you_mean("semihard", ["hard", "semi_hard"]) == " Did you mean 'semi_hard'?"
    assert did_you_mean("xyz", ["hard"]) == ""


def test_discover_imports_every_file_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "discovered_parts"
    package.mkdir()
    (package / "__init__.py").write_text("from siamese_lab.registry import Registry\nparts = Registry('part')\n")
    for name in ("first", "second"):
        (package / f"{name}.py").write_text(
            f"from discovered_parts import parts\n@parts.register({name!r})\nclass Part: pass\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    found = importlib.import_module("discovered_parts")
    try:
        found.parts.discover("discovered_parts", found.__path__)
        assert found.parts.available() == ("first", "second")
    finally:
        for name in [name for name in sys.modules if name.startswith("discovered_parts")]:
            del sys.modules[name]


def installed(folder, value):
    """Write an installed package `lab_extras` with one part, like pip does."""
    (folder / "lab_extras.py").write_text(
        "from discovered_lab import parts\n@parts.register('third')\nclass Third: pass\n"
    )
    about = folder / "lab_extras-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-extras\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[discovered_lab]\nthird = {value}\n")
    package = folder / "discovered_lab"
    package.mkdir()
    (package / "__init__.py").write_text("from siamese_lab.registry import Registry\nparts = Registry('part')\n")


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: importlib.import_module("discovered_lab")
    for name in [name for name in sys.modules if name.startswith(("discovered_lab", "lab_extras"))]:
        del sys.modules[name]


@pytest.mark.parametrize("value", ["lab_extras", "lab_extras:Third"])
def test_discover_registers_parts_of_installed_packages(tmp_path, found, value):
    installed(tmp_path, value)
    found().parts.discover("discovered_lab", found().__path__)
    assert found().parts.available() == ("third",)
    assert found().parts.build("third").__class__.__name__ == "Third"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "AttributeError.*Fourth"),
        ("import no_such_package", "ModuleNotFoundError.*no_such_package"),
        ("def broken(:", "SyntaxError"),
        ("int('x')", "ValueError.*invalid literal"),
    ],
)
def test_a_part_of_an_installed_package_that_cannot_be_loaded_is_named_and_skipped(
    code, reason, tmp_path, found, capsys
):
    installed(tmp_path, "lab_extras:Fourth" if code is None else "lab_broken")
    (tmp_path / "lab_broken.py").write_text(code or "")
    found().parts.discover("discovered_lab", found().__path__)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"part 'third' of the package 'lab-extras'.*left out: {reason}", line)
