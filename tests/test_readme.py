"""The README's commands run and its example works, as written but for the number of steps."""

import importlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, Ended, quick_run
from PIL import Image
from shipped import BY_GROUP

from siamese_lab import data, losses, networks, samplers
from siamese_lab.data.__main__ import main as prepare_data

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMAND = "python -m siamese_lab.train"
DATA_COMMAND = "python -m siamese_lab.data"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


LINES = [line for block in blocks("bash") for line in block.splitlines() if "pip" not in line]
COMMANDS = [line for line in LINES if COMMAND in line]
DATA_COMMANDS = [line for line in LINES if DATA_COMMAND in line]
EVALUATE_COMMAND = "python -m siamese_lab.evaluate"
EVALUATE_COMMANDS = [line for line in LINES if EVALUATE_COMMAND in line]
USE_COMMANDS = [line for line in LINES if re.search(r"python -m siamese_lab\.(embed|verify|search|export)\b", line)]


def test_the_first_two_commands_set_themselves_up() -> None:
    first, second = (line for line in blocks("bash")[0].splitlines() if not line.startswith("#"))
    assert first == f"pip install -e . && {COMMAND}"
    assert second == 'pip install -e ".[dev]" && pytest'


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line: str, command: Callable[..., Ended], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    before, _, arguments = line.partition(COMMAND)
    more = [*QUICK, "trainer.max_steps=2", f"paths.cache={tmp_path / 'cache'}"]
    if before.strip() == "SIAMESE_LAB_DATA=FOLDER":
        more.append(f"paths.data={request.getfixturevalue('omniglot_root')}")
    else:
        assert not before.strip()
    ended = command(*shlex.split(arguments), *more)
    assert ended.status == 0, ended.err
    assert "Results: outputs/" in ended.out


@pytest.mark.parametrize("line", DATA_COMMANDS)
def test_commands_about_data_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    before, _, arguments = line.partition(DATA_COMMAND)
    more = [f"paths.cache={tmp_path / 'cache'}"]
    if before.strip() == "SIAMESE_LAB_DATA=FOLDER":
        more.append(f"paths.data={request.getfixturevalue('real_root')}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["siamese_lab.data", *shlex.split(arguments), *more])
    with pytest.raises(SystemExit) as ended:
        prepare_data()
    assert ended.value.code == 0
    assert bool(list(tmp_path.glob("outputs/data/*/*.png"))) == ("--show" in line)


@pytest.mark.parametrize("line", EVALUATE_COMMANDS)
def test_commands_about_checkpoints_run(line: str, evaluate: Callable[..., Ended], tmp_path: Path) -> None:
    run = tmp_path / "outputs/runs/DATE/RUN"
    quick_run(run)
    before, _, arguments = line.partition(EVALUATE_COMMAND)
    assert not before
    ended = evaluate(*shlex.split(arguments), "map=null")
    assert ended.status == 0, ended.err
    assert "Evaluation: outputs/runs/DATE/RUN/evaluations/" in ended.out


@pytest.mark.parametrize("line", USE_COMMANDS)
def test_commands_that_use_a_network_run(line: str, call: Callable[..., Ended], own_run: Path, tmp_path: Path) -> None:
    lay_out(own_run, tmp_path)
    module, *arguments = shlex.split(line.partition("python -m ")[2])
    ended = call(importlib.import_module(module), *arguments)
    assert ended.status == 0, ended.err


def lay_out(run: Path, folder: Path) -> None:
    """The run and the images that the README speaks of."""
    (folder / "outputs/runs/DATE").mkdir(parents=True)
    run.rename(folder / "outputs/runs/DATE/RUN")
    for seed, name in enumerate(("A.jpg", "B.jpg", "photographs/C.jpg", "photographs/D.jpg")):
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def test_the_example_of_a_trained_network_embeds_images(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(own_run, tmp_path)
    monkeypatch.chdir(tmp_path)
    (example,) = (block for block in blocks("python") if "sl.load" in block)
    made: dict = {}
    exec(compile(example, "README.md", "exec"), made)
    assert len(made["z_ND"]) == 2
    assert made["z_ND"].norm(dim=1).allclose(torch.ones(2))


def test_the_strategy_of_the_example_chooses_the_farthest() -> None:
    (example,) = (block for block in blocks("python") if "@register" in block)
    known = samplers.registry.classes.pop("farthest", None)  # of a copy of the repository that follows the example
    try:
        exec(compile(example, "README.md", "exec"), {})
        z_BD = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [-1.0, 0.1]]))
        triplets = samplers.build("farthest")(z_BD, torch.tensor([0, 0, 1, 1]))
        assert triplets.negative_TM[:2, 0].tolist() == [3, 3]
    finally:
        samplers.registry.classes.pop("farthest", None)
        if known is not None:
            samplers.registry.classes["farthest"] = known


def test_every_choice_that_ships_is_in_the_table() -> None:
    folder = Path(__file__).parent.parent / "configs"
    registries = {
        "sampler": samplers.registry,
        "loss": losses.registry,
        "network": networks.registry,
        "data": data.registry,
    }
    for path in folder.glob("*/*.yaml"):
        group = path.parent.name
        is_own = group in BY_GROUP and path.stem in registries[group].classes and path.stem not in BY_GROUP[group]
        assert is_own or f"`{path.stem}`" in README, path
