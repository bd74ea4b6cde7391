"""Pages are checked: every command runs or is checked, examples work, links have targets, tables list every option."""

import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from conftest import FEW_STEPS, Ended, quick_run
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from PIL import Image
from project import pyproject
from shipped import BY_GROUP

from siamese_lab import data, losses, networks, report, samplers
from siamese_lab.config.schema import compose
from siamese_lab.data.__main__ import main as prepare_data

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("", "configs/", "siamese_lab/*/", "tests/benchmarks/", "outputs/", "outputs/study/", "notebooks/")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in FOLDERS
    for path in sorted(ROOT.glob(f"{folder}*.md"))
}
"""Text of every page, by its path. The checks of a copy without some folders cover the other pages."""
DATA = "SIAMESE_LAB_DATA=FOLDER"
VARIABLE = re.compile(r"[A-Z_]+=")
DOWNLOADED = {"data=omniglot", "data=lfw", "data=mnist", "data=fashion_mnist"}
"""Data sets that a command downloads if it gets no folder; the tests pass a folder."""
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Command(NamedTuple):
    """One shell command of a page."""

    page: str
    program: str
    """The name of the module after `python -m`, or of the program."""
    arguments: tuple[str, ...]
    needs_data: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.program} {shlex.join(self.arguments)}"


def commands() -> Iterator[Command]:
    """Yield every command of every bash block; `&&` separates two commands."""
    for page, text in PAGES.items():
        for block in BLOCK.findall(text):
            for line in block.splitlines():
                if not line.startswith("#"):
                    for words in split_at_and(shlex.split(line)):
                        has_folder = words[0] == DATA
                        needs_data = has_folder or not DOWNLOADED.isdisjoint(words)
                        words = list(dropwhile(VARIABLE.match, words))
                        words = words[2:] if words[:2] == ["python", "-m"] else words
                        yield Command(page, words[0], tuple(words[1:]), needs_data)


def split_at_and(words: list[str]) -> Iterator[list[str]]:
    start = 0
    for end in (*(at for at, word in enumerate(words) if word == "&&"), len(words)):
        yield words[start:end]
        start = end + 1


COMMANDS = tuple(commands())
TRAIN = [each for each in COMMANDS if each.program == "siamese_lab.train"]
RUN = list({each.arguments: each for each in TRAIN if each.page == "README.md"}.values())
"""The same command with and without a folder of data runs once, with the folder."""
USE = [each for each in COMMANDS if re.fullmatch(r"siamese_lab\.(embed|verify|search|export)", each.program)]
CHECKED_BY_CI = {"ruff", "mypy", "lint-imports"}
CHECKED_BELOW = {"siamese_lab.train", "siamese_lab.data", "siamese_lab.evaluate", "siamese_lab.report"}
CHECKED_BELOW |= {"pip", "pytest", *(each.program for each in USE)}
CHECKED_ELSEWHERE = {"venv", ".", "pre-commit", "jupyter", "python"}
"""`.ci/run` creates environments; test_notebooks.py executes the notebooks and their script, without Jupyter's page."""


def commands_of(program: str) -> list[Command]:
    return [each for each in COMMANDS if each.program == program]


def test_the_first_two_commands_install_what_they_need() -> None:
    first, second = (line for line in BLOCK.findall(README)[0].splitlines() if not line.startswith("#"))
    assert first == "pip install -e . && python -m siamese_lab.train"
    assert second == 'pip install -e ".[dev]" && pytest'


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_every_command_is_checked() -> None:
    for each in COMMANDS:
        if each.program in CHECKED_BY_CI:
            assert each.program in (ROOT / ".ci/run").read_text(encoding="utf-8"), each
        elif each.program.startswith("tests.benchmarks."):
            path = ROOT / f"{each.program.replace('.', '/')}.py"
            source = path.read_text(encoding="utf-8")
            assert all(word in source for word in each.arguments if word.startswith("--")), each
            assert each.page == "tests/benchmarks/README.md"
        else:
            assert each.program in CHECKED_BELOW | CHECKED_ELSEWHERE, each


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN, ids=str)
def test_commands_run(
    line: Command, command: Callable[..., Ended], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    more = [*FEW_STEPS, "trainer.max_steps=2", "network.width=8", "trainer.val_check_interval=2"]
    if line.needs_data:
        more += [f"paths.data={request.getfixturevalue('omniglot_root')}", "data.image_size=28"]
    more.append(f"paths.cache={request.getfixturevalue('real_cache') if line.needs_data else tmp_path / 'cache'}")
    ended = command(*line.arguments, *more)
    assert ended.status == 0, ended.err
    assert "Results: outputs/" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("line", [each for each in TRAIN if each.page != "README.md"], ids=str)
def test_longer_commands_compose(line: Command) -> None:
    """Each value of a sweep composes, with the first values of the other swept options. Two seeds stand for all."""
    arguments = [word for word in line.arguments if word != "-m"]
    values = [values_of(override) for override in OverridesParser.create().parse_overrides(arguments)]
    swept_by_experiment = any(each.startswith("experiment=") and each != "experiment=facenet" for each in arguments)
    assert ("-m" in line.arguments) == (any(len(each) > 1 for each in values) or swept_by_experiment)
    for swept in range(len(values)):
        for value in values[swept]:
            chosen = [each[0] if at != swept else value for at, each in enumerate(values)]
            config = compose(*(each for each in chosen if not each.startswith("tuned=")))  # there is no tuning here
            assert config.trainer.max_epochs or config.trainer.max_steps >= 0


def values_of(override: Override) -> list[str]:
    key = ("+" if override.is_add() else "") + override.get_key_element()
    if override.is_sweep_override():
        every = [f"{key}={value}" for value in override.sweep_string_iterator()]
        return every[:2] if key == "seed" else every
    return [f"{key}={override.get_value_element_as_str()}"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(each, marks=[pytest.mark.slow] if each.needs_data else [])
        for each in commands_of("siamese_lab.data")
        if "features" not in each.arguments  # needs the run of the command before it
    ],
    ids=str,
)
def test_commands_about_data_run(
    line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    more = [f"paths.cache={request.getfixturevalue('real_cache') if line.needs_data else tmp_path / 'cache'}"]
    if line.needs_data:
        more.append(f"paths.data={request.getfixturevalue('real_root')}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["siamese_lab.data", *line.arguments, *more])
    with pytest.raises(SystemExit) as ended:
        prepare_data()
    assert ended.value.code == 0
    assert bool(list(tmp_path.glob("outputs/data/*/*.png"))) == ("--show" in line.arguments)


@pytest.mark.slow
@pytest.mark.parametrize("line", commands_of("siamese_lab.evaluate"), ids=str)
def test_commands_about_checkpoints_run(line: Command, evaluate: Callable[..., Ended], tmp_path: Path) -> None:
    quick_run(tmp_path / "outputs/runs/DATE/RUN", "trainer.max_steps=1", "metrics.floors=false")
    ended = evaluate(*line.arguments, "map=null")
    assert ended.status == 0, ended.err
    assert "Evaluation: outputs/runs/DATE/RUN/evaluations/" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("line", USE, ids=str)
def test_commands_that_use_a_network_run(
    line: Command, call: Callable[..., Ended], own_run: Path, tmp_path: Path
) -> None:
    lay_out(own_run, tmp_path)
    ended = call(importlib.import_module(line.program), *line.arguments)
    assert ended.status == 0, ended.err


@pytest.mark.parametrize("line", commands_of("siamese_lab.report"), ids=str)
def test_report_commands_parse(line: Command) -> None:
    folder = report.parser().parse_args(line.arguments).folder
    assert folder.parts[0] == "outputs"
    assert folder.name in ("TIME", "my_study", "four") or (ROOT / folder).is_dir() or not (ROOT / "outputs").is_dir()


@pytest.mark.parametrize("line", commands_of("pip"), ids=str)
def test_installed_extras_exist(line: Command) -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    assert line.arguments[:2] == ("install", "-e")
    asked = re.fullmatch(r"\.(?:\[(\w+)\])?", line.arguments[2])
    assert asked and (asked[1] is None or asked[1] in extras)


@pytest.mark.parametrize("line", commands_of("pytest"), ids=str)
def test_pytest_commands_name_existing_tests(line: Command) -> None:
    settings = pyproject()["tool"]["pytest"]["ini_options"]
    markers = {marker.split(":")[0] for marker in settings["markers"]}
    for flag, word in zip(("", *line.arguments), line.arguments, strict=False):
        if flag == "-m":
            assert set(word.split()) - {"not", "and", "or"} <= markers
        elif flag == "--pyargs":
            assert importlib.util.find_spec(word)
        elif not word.startswith("-"):
            assert (ROOT / word).exists()


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_name_modules(page: str) -> None:
    for module in re.findall(r"python -m ([\w.]+)", PAGES[page]):
        assert module == "venv" or importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if not target.startswith("https://"):
            path, _, heading = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            top = file.resolve().relative_to(ROOT.resolve()).parts[0]
            if top in ("outputs", "notebooks") and not (ROOT / top).exists():
                continue  # an sdist has neither
            assert file.exists(), target
            if heading:
                titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in map(anchor, titles), target


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_equal_rows(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def lay_out(run: Path, folder: Path) -> None:
    """Put the run and the images that the pages name into a folder."""
    (folder / "outputs/runs/DATE").mkdir(parents=True)
    run.rename(folder / "outputs/runs/DATE/RUN")
    for seed, name in enumerate(("A.jpg", "B.jpg", "photographs/C.jpg", "photographs/D.jpg")):
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def example(page: str, needle: str) -> str:
    """Return the Python block of a page that contains a text."""
    found = [block for block in re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL) if needle in block]
    assert len(found) == 1
    return found[0]


def test_the_example_of_a_trained_network_embeds_images(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(own_run, tmp_path)
    monkeypatch.chdir(tmp_path)
    made: dict = {}
    exec(compile(example("siamese_lab/inference/README.md", "sl.load"), "README.md", "exec"), made)
    assert len(made["z_ND"]) == 2
    assert made["z_ND"].norm(dim=1).allclose(torch.ones(2))


@pytest.mark.slow
def test_the_example_of_a_training_from_python_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exec(compile(example("README.md", "sl.fit"), "README.md", "exec"), {})
    trained, shape = capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)
    assert float(trained) > 0.2, "raw pixels reach 0.065"
    assert shape == "torch.Size([2, 128])"
    assert list(tmp_path.glob("*.json")) == []


def test_the_strategy_of_the_example_chooses_the_farthest() -> None:
    known = samplers.registry.classes.pop("farthest", None)  # of a copy of the repository that follows the example
    try:
        exec(compile(example("README.md", "@register"), "README.md", "exec"), {})
        z_BD = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [-1.0, 0.1]]))
        triplets = samplers.build("farthest")(z_BD, torch.tensor([0, 0, 1, 1]))
        assert triplets.negative_TM[:2, 0].tolist() == [3, 3]
    finally:
        samplers.registry.classes.pop("farthest", None)
        if known is not None:
            samplers.registry.classes["farthest"] = known


CONFIGS = PAGES["configs/README.md"]
REGISTRIES = {
    "sampler": samplers.registry,
    "loss": losses.registry,
    "network": networks.registry,
    "data": data.registry,
}


def is_shipped(path: Path) -> bool:
    """Return whether a YAML file belongs to the lab, rather than to an example that was copied into it."""
    group, name = path.parent.name, path.stem
    return not (group in BY_GROUP and name in REGISTRIES[group].classes and name not in BY_GROUP[group])


SHIPPED = sorted(path for path in ROOT.glob("configs/*/*.yaml") if is_shipped(path))
TABLED = [path for path in SHIPPED if path.parent.name in (*REGISTRIES, "optimizer", "schedule", "trainer")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_choice_that_ships_is_in_the_table(path: Path) -> None:
    row = re.search(rf"^\| `{path.parent.name}` \| (.*?) \|", CONFIGS, re.MULTILINE)
    assert row and f"`{path.stem}`" in row[1]


@pytest.mark.parametrize("path", TABLED, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_option_is_in_a_table_with_its_default(path: Path) -> None:
    group, content = path.parent.name, yaml.safe_load(path.read_text(encoding="utf-8"))
    options = content["data"] if group == "data" else content
    for option, value in options.items():
        if option in ("name", "defaults", "_target_", "_partial_"):
            continue
        if isinstance(value, (dict, list)):
            assert f"{option}`" in CONFIGS or f".{option}." in CONFIGS
            continue
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        defaults = defaults_of(f"{group}.{option}")
        assert defaults.get(path.stem, defaults.get("every")) == shown, (option, defaults)


def defaults_of(option: str) -> dict[str, str]:
    """Return the default of an option for each part, by the tables of the page."""
    rows = re.findall(rf"^\| `{re.escape(option)}` \| (.*?) \| `(.*?)` \|", CONFIGS, re.MULTILINE)
    return {part: default for parts, default in rows for part in parts.replace("`", "").split(", ")}


@pytest.mark.parametrize("kind", ["train", "evaluate", "every_data", "every_network", "every_sampler"])
def test_every_option_outside_the_groups_is_in_a_table(kind: str) -> None:
    content = yaml.safe_load((ROOT / f"configs/{kind}.yaml").read_text(encoding="utf-8"))
    for option in content.keys() - {"defaults", "hydra", "paths", "metrics"}:
        name = option if kind in ("train", "evaluate") else f"{kind.removeprefix('every_')}.{option}"
        assert f"| `{name}` |" in CONFIGS, option
