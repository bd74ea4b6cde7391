"""Weights decay, but biases, norms and parameters of a loss do not, and the last have a separate learning rate."""

import pytest
import timm
import torch
from conftest import compose, quick_run
from timm.optim import param_groups_layer_decay
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


def lrs_of(network, **options):
    """Return the learning rate of each weight by its name, and whether it decays, after a step of a schedule."""
    from siamese_lab.samplers import build as build_sampler
    from siamese_lab.training.module import SiameseModule
    from siamese_lab.training.schedules import cosine

    module = SiameseModule(
        network,
        build_sampler("random"),
        losses.build("triplet"),
        lambda groups: torch.optim.SGD(groups, lr=0.8, weight_decay=0.1),
        lambda optimizer: cosine(optimizer, steps=4),
    )
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    names = {id(each): name for name, each in network.named_parameters()}
    initial = {names[id(p)]: (g["lr"], g["weight_decay"] > 0) for g in optimizer.param_groups for p in g["params"]}
    assert len(initial) == sum(len(g["params"]) for g in optimizer.param_groups) == len(names)
    optimizer.step()
    schedule.step()
    optimizer.step()
    schedule.step()
    halved = {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert halved == pytest.approx({name: lr / 2 for name, (lr, _) in initial.items()}), "cosine, half of the steps"
    assert optimizer.param_groups[0]["lr"] == initial["embed.weight"][0] / 2, "the logged rate is that of the head"
    return initial


def test_each_layer_of_a_transformer_has_its_learning_rate():
    """The head has the whole rate, the last block and the norm half of it, and the stem that of one more block."""
    network = networks.build("timm", model_name="test_vit", image_size=32, channels=3, layer_decay=0.5, seed=0)
    blocks = len(network.backbone.model.blocks)
    lrs = lrs_of(network)
    assert lrs["backbone.model.norm.weight"] == (0.4, False)
    for block in range(blocks):
        lr, decays = lrs[f"backbone.model.blocks.{block}.attn.qkv.weight"]
        assert (lr, decays) == (pytest.approx(0.8 * 0.5 ** (blocks - block)), True)
    for stem in ("cls_token", "pos_embed", "patch_embed.proj.weight"):
        assert lrs[f"backbone.model.{stem}"][0] == pytest.approx(0.8 * 0.5 ** (blocks + 1))
    assert lrs["embed.weight"] == (0.8, True) and lrs["embed.bias"] == (0.8, False)


def test_each_layer_of_a_resnet_has_its_learning_rate_and_the_head_its_own():
    network = networks.build(
        "timm", model_name="test_resnet", image_size=32, channels=3, layer_decay=0.5, head_lr=2.0, pooling="gem", seed=0
    )
    lrs = lrs_of(network)
    stages = [getattr(network.backbone.model, f"layer{stage}") for stage in range(1, 5)]
    blocks = [(stage, block) for stage, layer in enumerate(stages, start=1) for block in range(len(layer))]
    for depth, (stage, block) in enumerate(reversed(blocks)):
        assert lrs[f"backbone.model.layer{stage}.{block}.conv1.weight"] == (
            pytest.approx(0.8 * 0.5 ** (depth + 1)),
            True,
        )
    assert lrs["backbone.model.conv1.0.weight"] == (pytest.approx(0.8 * 0.5 ** (len(blocks) + 1)), True)
    assert lrs["backbone.pool.exponent"] == (0.8, False)
    assert lrs["embed.weight"] == (2.0, True)


def test_scales_equal_those_of_timm():
    """Our embedding layer takes the place of timm's classifier."""
    for model_name in ("test_vit2", "test_resnet", "test_convnext", "test_efficientnet"):
        theirs = timm.create_model(model_name, num_classes=7)
        groups = param_groups_layer_decay(theirs, layer_decay=0.7)
        scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
        assert scales[id(theirs.get_classifier().weight)] == 1
        network = networks.build("timm", model_name=model_name, image_size=32, channels=3, layer_decay=0.7, seed=0)
        lrs = lrs_of(network)
        for name, each in theirs.named_parameters():
            if f"backbone.model.{name}" in lrs:
                assert lrs[f"backbone.model.{name}"][0] == pytest.approx(0.8 * scales[id(each)]), name


def test_a_decay_of_1_and_no_decay_train_alike():
    options = {"model_name": "test_resnet", "image_size": 32, "channels": 3, "seed": 0}
    even, plain = networks.build("timm", layer_decay=1.0, **options), networks.build("timm", **options)
    assert {name: lr for name, (lr, _) in lrs_of(even).items()} == {name: lr for name, (lr, _) in lrs_of(plain).items()}


def test_layer_decay_is_refused_without_layer_groups_and_out_of_range():
    with pytest.raises(UserError, match=r"layer_decay=0.75 needs a backbone with layer groups, but Conv4 has none"):
        networks.build("conv4", layer_decay=0.75)
    for wrong in (0.0, -1.0, 1.5):
        with pytest.raises(UserError, match=f"layer_decay must be null, or above 0 and at most 1, but is {wrong}"):
            networks.build("timm", model_name="test_vit", image_size=32, layer_decay=wrong)
