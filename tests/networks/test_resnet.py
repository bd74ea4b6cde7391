"""Residual networks equal torchvision's except for the stem of small images; pretrained ones standardize images."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from torchvision import models
from torchvision.transforms.functional import normalize

from siamese_lab import networks

pytestmark = pytest.mark.slow

WEIGHTS = {name: models.get_model_weights(name).DEFAULT for name in ("resnet18", "resnet50")}
both = pytest.mark.parametrize("name", WEIGHTS)


def sizes_seen(name, **options):
    """Return the side of the maps of each stage."""
    backbone = networks.build(name, **options).backbone.eval()
    sides = []
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        getattr(backbone.layers, stage).register_forward_hook(lambda _, inputs, output: sides.append(output.shape[-1]))
    size = options["image_size"]
    backbone(torch.rand(1, options["channels"], size, size))
    return sides


@both
@pytest.mark.parametrize(
    ("size", "stem", "sides"),
    [
        (28, "auto", [28, 14, 7, 4]),
        (64, "auto", [64, 32, 16, 8]),
        (65, "auto", [17, 9, 5, 3]),
        (64, "imagenet", [16, 8, 4, 2]),
        (80, "small", [80, 40, 20, 10]),
    ],
)
def test_the_stem_suits_the_images(name, size, stem, sides):
    assert sizes_seen(name, channels=1, image_size=size, stem=stem) == sides


@both
def test_with_the_stem_of_imagenet_the_network_equals_torchvisions(name):
    torch.manual_seed(0)
    ours = networks.build(name, channels=3, image_size=96).backbone.eval()
    theirs = models.get_model(name).eval()
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(ours.layers.state_dict())
    images_BCHW = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(ours(images_BCHW), theirs(images_BCHW), atol=1e-4, rtol=1e-4)
    assert ours.features == theirs(images_BCHW).shape[1]


@pytest.fixture
def cached_weights(tmp_path, monkeypatch):
    """Write random weights into the cache of torchvision, because ImageNet's weights would need a download."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    network = models.get_model("resnet18")
    torch.save(network.state_dict(), folder / WEIGHTS["resnet18"].url.rsplit("/", 1)[1])
    network.fc = torch.nn.Identity()
    return network.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [32, 96])
def test_pretrained_weights_see_standardized_images(channels, image_size, cached_weights):
    """Three channels are standardized as by torchvision's transform; small images keep the stem of ImageNet, too."""
    backbone = networks.build("resnet18", channels=channels, image_size=image_size, pretrained=True).backbone.eval()
    images_BCHW = torch.rand(2, channels, image_size, image_size)
    transform = WEIGHTS["resnet18"].transforms()
    expected = cached_weights(normalize(images_BCHW.expand(-1, 3, -1, -1), transform.mean, transform.std))
    torch.testing.assert_close(backbone(images_BCHW), expected, atol=1e-4, rtol=1e-4)
    assert "standardize" not in "".join(backbone.state_dict()), "constants are not stored"


def test_pretrained_weights_need_1_or_3_channels(cached_weights):
    with pytest.raises(
        ValueError, match=r"images of 1 or 3 channels, but these have 4\. Set network\.pretrained=false"
    ):
        networks.build("resnet18", channels=4, image_size=96, pretrained=True)


@pytest.fixture
def unreachable_network(tmp_path, monkeypatch):
    """Set a proxy on loopback that refuses every connection."""

    class Refuse(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_error(403, "Nothing passes here")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_that_cannot_be_downloaded_are_a_clear_error(unreachable_network):
    with pytest.raises(ValueError, match=r"could not be loaded from https://.*resnet50-.*\.pth") as caught:
        networks.build("resnet50", channels=3, image_size=96, pretrained=True)
    assert f"Put that file into {unreachable_network}/hub/checkpoints by hand, or set network.pretrained=false" in str(
        caught.value
    )
    assert not list((unreachable_network / "hub/checkpoints").glob("*")), "no partial download should remain"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"stem": "tiny"}, r"stem must be 'auto', 'small' or 'imagenet', but is 'tiny'\."),
        ("resnet18", {"stem": "small", "pretrained": True}, r"so stem='small' does not fit them\. Set network\.stem="),
        ("resnet10", {"stride": 3}, r"stride must be 1 or 2, but is 3\."),
        ("resnet10", {"image_size": 15}, r"needs at least 16×16 pixels, but they are 15×15\."),
        ("mlp", {"depth": -1}, r"a depth of at least 0 and a width of at least 1, but they are -1 and 512\."),
    ],
)
def test_invalid_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        networks.build(name, **options)


@pytest.mark.parametrize(("stride", "sides"), [(1, [64, 32, 16, 8]), (2, [32, 16, 8, 4])])
def test_resnet10_halves_three_times_after_its_first_convolution(stride, sides):
    backbone = networks.build("resnet10", channels=3, image_size=64, width=16, stride=stride).backbone
    seen = []
    for block in backbone.layers:
        if isinstance(block, models.resnet.BasicBlock):
            block.register_forward_hook(lambda _, inputs, output: seen.append((output.shape[1], output.shape[2])))
    assert backbone(torch.rand(2, 3, 64, 64)).shape == (2, backbone.features)
    assert seen == list(zip([16, 32, 64, 128], sides, strict=True))


@pytest.mark.parametrize(("image_size", "side"), [(64, 4), (60, 4), (28, 2)])
def test_resnet10_keeps_the_positions_of_aligned_images(image_size, side):
    backbone = networks.build("resnet10", channels=3, image_size=image_size, width=8, pooled=False).backbone
    assert backbone(torch.rand(2, 3, image_size, image_size)).shape == (2, backbone.features) == (2, 64 * side * side)
