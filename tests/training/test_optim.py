"""Weights decay, but biases, norms and parameters of a loss do not, and the last have a separate learning rate."""

import pytest
import torch
from conftest import compose, quick_run
from torch import nn

from siamese_lab import losses, networks
from siamese_lab.errors import UserError
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.module import parameter_groups


@pytest.mark.parametrize("name", networks.available())
def test_every_parameter_is_in_one_group_and_only_weights_decay(name):
    network, loss = networks.build(name), losses.build("margin", beta_per_class=True, classes=3)
    decaying, others, of_loss = parameter_groups(network, loss, loss.learning_rate)
    weights = [m.weight for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert {id(each) for each in decaying["params"]} == {id(each) for each in weights}
    assert "weight_decay" not in decaying
    assert {id(each) for each in others["params"]} == {id(p) for p in network.parameters()} - {id(w) for w in weights}
    assert of_loss["params"] == [loss.beta]
    assert (others["weight_decay"], of_loss["weight_decay"], of_loss["lr"]) == (0.0, 0.0, 1e-3)


def test_a_loss_without_parameters_has_no_group_and_frozen_weights_are_excluded():
    network = networks.build("conv4")
    network.backbone.requires_grad_(False)
    decaying, others = parameter_groups(network, losses.build("triplet"))
    assert len(decaying["params"]) == len(others["params"]) == 1


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adagrad"])
def test_beta_moves_at_its_own_rate_without_decay(name):
    config = compose("loss=margin", "loss.beta_lr=0.25", f"optimizer={name}", "schedule=constant")
    module = build_module(config, build_datamodule(config))
    optimizer = module.configure_optimizers()["optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == [config.optimizer.lr, config.optimizer.lr, 0.25]
    module.loss.beta.grad = torch.ones(())
    optimizer.step()
    step = 0.25 * (1 + 0.9 if name == "sgd" else 1)  # Nesterov's first step
    assert module.loss.beta.item() == pytest.approx(1.2 - step)


@pytest.mark.slow
def test_beta_is_learnt_and_logged_in_a_run(tmp_path):
    quick_run(tmp_path, "loss=margin", "loss.beta_lr=0.01", "loss.beta_per_class=true", "trainer.max_steps=8")
    beta_C = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["loss.beta"]
    assert beta_C.shape == (6,)
    assert (beta_C != 1.2).all()
    assert "train/beta_mean" in (tmp_path / "csv/metrics.csv").read_text().splitlines()[0]


def test_the_head_has_a_learning_rate_of_its_own():
    network = networks.build("conv4", image_size=16, width=4, batch_norm=True, head_lr=0.5, seed=0)
    groups = parameter_groups(network, losses.build("triplet"), head_lr=network.head_lr)
    names = {id(each): name for name, each in network.named_parameters()}
    of_group = [{names[id(each)] for each in group["params"]} for group in groups]
    assert [group.get("lr") for group in groups] == [None, None, 0.5, 0.5]
    assert of_group[2:] == [{"embed.weight"}, {"embed.bias", "batch_norm.weight", "batch_norm.bias"}]
    assert set().union(*of_group) == set(names.values())
    optimizer = torch.optim.SGD(groups, lr=0.0)
    network(torch.rand(4, 1, 16, 16)).tanh().sum().backward()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    optimizer.step()
    changed = {name for name, each in network.named_parameters() if not torch.equal(each, before[name])}
    assert changed <= of_group[2] | of_group[3] and "embed.weight" in changed
    with pytest.raises(UserError, match="head_lr must be null or above 0"):
        networks.build("conv4", head_lr=0.0)
