"""`network.freeze=N` keeps the backbone bit by bit for N steps and trains it afterwards, also when a run resumes."""

import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, last_weights
from rich.console import Console
from torch import Tensor, nn

from siamese_lab import networks
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.errors import Interrupted, UserError
from siamese_lab.training.module import SiameseModule, parameter_groups
from siamese_lab.training.run import train

FROZEN, STEPS = 4, 8
SILENT = Console(quiet=True)
TIMM = ("network=timm", "network.model_name=test_resnet", "data.image_size=32", "trainer.precision=32-true")
OPTIONS = (
    *TIMM,
    f"network.freeze={FROZEN}",
    "network.head_lr=0.01",
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=2",
    "metrics.floors=false",
    "data.classes_per_batch=4",
    "logger=null",
)


def build(**options: object) -> networks.SiameseNetwork:
    return networks.build("timm", model_name="test_resnet", channels=3, image_size=32, seed=0, **options)


def backbone_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in network.state_dict().items() if name.startswith("backbone.")}


def step(network: networks.SiameseNetwork, number: int, optimizer: torch.optim.Optimizer) -> None:
    network.train()
    network.backbone.before_step(number)
    optimizer.zero_grad()
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(number))
    network(images).square().mul(torch.arange(network.embedding_dim)).sum().backward()
    optimizer.step()


def test_the_backbone_is_frozen_for_n_steps_with_its_statistics_and_then_learns() -> None:
    network = build(freeze=3)
    optimizer = torch.optim.AdamW(parameter_groups(network, nn.Identity()), lr=0.01, weight_decay=0.1)
    before, head = backbone_of(network), network.embed.weight.detach().clone()
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    for number in range(5):
        step(network, number, optimizer)
        same = [name for name, each in backbone_of(network).items() if torch.equal(each, before[name])]
        assert (len(same) == len(before)) == (number < 3), number
        assert network.backbone.training == network.backbone.model.bn1.training == (number >= 3)
    changed = {name for name, each in backbone_of(network).items() if not torch.equal(each, before[name])}
    assert {"backbone.model.conv1.0.weight", "backbone.model.bn1.running_mean"} <= changed
    assert not torch.equal(network.embed.weight, head)


def test_the_head_learns_in_the_frozen_steps_as_with_a_backbone_that_is_frozen_always() -> None:
    networks_ = [build(freeze=freeze) for freeze in (3, True)]
    for network in networks_:
        optimizer = torch.optim.AdamW(parameter_groups(network, nn.Identity()), lr=0.01)
        for number in range(3):
            step(network, number, optimizer)
    one, other = (network.state_dict() for network in networks_)
    assert all(torch.equal(each, other[name]) for name, each in one.items())


def test_the_number_of_steps_alone_decides() -> None:
    backbone = build(freeze=3).backbone
    for number, frozen in ((0, True), (5, False), (2, True), (3, False)):
        backbone.before_step(number)
        assert backbone.is_frozen == frozen and backbone.training != frozen
    always, never = build(freeze=True).backbone, build().backbone
    for number in (0, 10**9):
        always.before_step(number)
        never.before_step(number)
        assert (always.is_frozen, never.is_frozen) == (True, False)


@pytest.mark.parametrize("wrong", [-1, 2.5, "half", None])
def test_another_value_is_refused(wrong: object) -> None:
    with pytest.raises(UserError, match=f"network.freeze must be true, false or a number of steps.*{wrong}"):
        build(freeze=wrong)


def run_to(folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch, *further: str) -> list[str]:
    """Train until a signal arrives in a step, and return the command line that resumes."""
    overrides, training_step = [*QUICK, *OPTIONS, *further], SiameseModule.training_step

    def then_signal(self: SiameseModule, batch, batch_idx: int) -> dict:
        if self.global_step + 1 == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return training_step(self, batch, batch_idx)

    folder.mkdir()
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(SiameseModule, "training_step", then_signal)
        train(compose(*overrides), folder, overrides, SILENT)
    return with_resumed_overrides([f"resume={folder / 'checkpoints/last.ckpt'}"])


@pytest.mark.slow
@pytest.mark.parametrize("further", [(), ("ema=0.9",)], ids=["weights", "ema"])
def test_a_run_resumed_before_and_after_the_last_frozen_step_equals_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, further: tuple[str, ...]
) -> None:
    overrides = [*QUICK, *OPTIONS, *further]
    whole = train(compose(*overrides), tmp_path, overrides, SILENT)
    expected = last_weights(tmp_path)
    for steps in (FROZEN - 1, FROZEN, FROZEN + 1):
        folder = tmp_path / str(steps)
        said = run_to(folder, steps, monkeypatch, *further)
        stored = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]
        assert (len(stored["state"]) <= 4) == (steps <= FROZEN), "a frozen weight has no moments"
        resumed = train(compose(*[each for each in said if not each.startswith("hydra.")]), folder, said, SILENT)
        assert (resumed.test, resumed.validation) == (whole.test, whole.validation)
        assert all(torch.equal(each, expected[name]) for name, each in last_weights(folder).items())


@pytest.mark.slow
def test_a_run_keeps_the_backbone_until_step_n(tmp_path: Path) -> None:
    for steps in (FROZEN, FROZEN + 1):
        overrides = [*QUICK, *OPTIONS, f"trainer.max_steps={steps}", "trainer.val_check_interval=1"]
        train(compose(*overrides), tmp_path / str(steps), overrides, SILENT)
    initial = backbone_of(build(freeze=FROZEN))
    first, second = (
        {name.removeprefix("network."): each for name, each in last_weights(tmp_path / str(steps)).items()}
        for steps in (FROZEN, FROZEN + 1)
    )
    assert all(torch.equal(first[name], each) for name, each in initial.items())
    assert not torch.equal(second["backbone.model.conv1.0.weight"], initial["backbone.model.conv1.0.weight"])


@pytest.mark.slow
def test_two_processes_freeze_and_train_as_one(tmp_path: Path) -> None:
    """DistributedDataParallel waits for a gradient of each weight, also of the frozen ones."""
    options = [*QUICK, *OPTIONS, "trainer.precision=64-true", "trainer.accelerator=cpu", "threads=1"]
    for devices in (1, 2):
        overrides = [*options, f"trainer.devices={devices}"]
        train(compose(*overrides), tmp_path / str(devices), overrides, SILENT)
    one, two = (last_weights(tmp_path / str(devices)) for devices in (1, 2))
    assert max(float((one[name].double() - two[name].double()).abs().max()) for name in one) < 1e-9
