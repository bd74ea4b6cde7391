"""A small network uses one thread, a larger one all, and what the user sets stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from siamese_lab import networks
from siamese_lab.config.schema import compose
from siamese_lab.training import threads
from siamese_lab.training.run import train
from siamese_lab.training.threads import multiplications

STEPS = ("trainer.max_steps=2", "trainer.val_check_interval=2", "metrics.floors=false", "~logger")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in threads.SET_BY_USER:
        monkeypatch.delenv(variable, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_run(folder: Path, *options: str) -> int:
    overrides = ["data=digits", "trainer.accelerator=cpu", *STEPS, *options]
    console = Console(record=True, width=200, file=(folder / "printed").open("w"))
    used = train(compose(*overrides), folder / "run", overrides, console, with_test=False).hardware["threads"]
    printed = console.export_text()
    assert f", {used} thread" in printed
    return used


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [(("network=mlp",), 1), (("network.width=8",), 1), ((), 2), (("network=mlp", "threads=2"), 2)],
)
def test_only_a_small_network_uses_one_thread(options: tuple[str, ...], expected: int, tmp_path: Path) -> None:
    assert threads_of_run(tmp_path, *options) == expected
    assert torch.get_num_threads() == 2, "the next run in this process starts with all threads"


@pytest.mark.slow
def test_a_variable_that_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of_run(tmp_path, "network=mlp") == 2


def test_multiplications_are_those_of_one_training_image() -> None:
    network = networks.build("conv4", channels=1, image_size=16, width=8, embedding_dim=32, seed=0, tta=["larger"])
    maps = 8 * 16**2 * 9 * 1 + 8 * 8**2 * 9 * 8 + 8 * 4**2 * 9 * 8 + 8 * 2**2 * 9 * 8
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert multiplications(network, 1, 16) == maps + 8 * 32
    assert network.training
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
