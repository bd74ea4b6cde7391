"""Networks give unit-norm float32 embeddings under autocast, too, and the distances between twins."""

import copy

import pytest
import torch
from shipped import NETWORKS
from torch import nn

from siamese_lab import distances, networks
from siamese_lab.networks.dropout import Dropout
from siamese_lab.networks.views import smaller

SMALL = {"embedding_dim": 16, "image_size": 16, "width": 8}
LARGE = ("resnet18", "resnet50", "koch")
every_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NETWORKS]
)


def images(count=6, channels=1, size=16, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def seeded(name, **options):
    torch.manual_seed(0)
    return networks.build(name, **options)


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_embeddings_have_unit_norm(name, training):
    z_BD = seeded(name, embedding_dim=24).train(training)(images(size=28))
    assert z_BD.shape == (6, 24)
    assert z_BD.dtype == torch.float32
    torch.testing.assert_close(z_BD.norm(dim=1), torch.ones(6))
    assert z_BD.std(0).max() > 1e-4, "different images should have different embeddings"


@every_network
def test_embeddings_are_unit_norm_float32_under_autocast_too(name):
    network = seeded(name).eval()
    seen = []
    network.embed.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        z_BD = network(images(size=28))
    assert seen == [torch.bfloat16], "autocast should be active before the norm"
    assert z_BD.dtype == torch.float32
    torch.testing.assert_close(z_BD.norm(dim=1), torch.ones(6))


@every_network
def test_the_weights_are_channels_last(name):
    kernels = [layer.weight for layer in seeded(name).modules() if isinstance(layer, nn.Conv2d)]
    told_apart = [kernel for kernel in kernels if kernel.shape[1] > 1 and kernel.shape[2] > 1]
    assert told_apart or name == "mlp"
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert not any(kernel.is_contiguous() for kernel in told_apart)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("kind", ["plain", "squared"])
def test_distance_is_that_of_the_embeddings(name, kind):
    network = seeded(name).eval()
    left_BCHW, right_BCHW = images(size=28), images(size=28, seed=1)
    d_B = network.distance(left_BCHW, right_BCHW, kind)
    assert torch.equal(d_B, distances.rowwise(network(left_BCHW), network(right_BCHW), kind))
    assert d_B.shape == (6,)
    assert (d_B > 0).all()
    torch.testing.assert_close(network.distance(right_BCHW, left_BCHW, kind), d_B)


@pytest.mark.slow
@every_network
def test_every_weight_learns(name):
    network = seeded(name)
    (network(images(size=28)) * torch.randn(6, 128)).sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    assert all(weight.grad.any() for weight in network.parameters() if weight.ndim > 1)


@pytest.mark.parametrize(
    ("image_size", "ceil_mode", "features"),
    [(16, True, 64), (28, True, 256), (28, False, 64), (32, True, 256), (105, True, 3136), (105, False, 2304)],
)
def test_conv4_declares_its_number_of_features(image_size, ceil_mode, features):
    backbone = networks.build("conv4", channels=3, image_size=image_size, ceil_mode=ceil_mode).backbone
    assert backbone.features == features
    assert backbone(images(2, channels=3, size=image_size)).shape == (2, features)


def test_conv4_doubles_its_maps_from_block_to_block():
    backbone = networks.build("conv4", width=8, double_width=True).backbone
    convolutions = [module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [8, 16, 32, 64]
    assert backbone(torch.rand(2, 1, 28, 28)).shape == (2, backbone.features) == (2, 64 * 2 * 2)


def test_conv4_has_four_blocks_like_the_literature():
    """It has 111,680 weights: 64 filters of 3×3 on 1, then three times on 64 maps, and two per map for batch norm."""
    backbone = networks.build("conv4").backbone
    assert sum(weight.numel() for weight in backbone.parameters()) == 9 * 64 * (1 + 3 * 64) + 4 * 2 * 64


def test_images_that_are_too_small_are_refused():
    with pytest.raises(
        ValueError, match=r"needs at least 16×16 pixels, but they are 15×15\. Set data\.image_size=16 or more\."
    ):
        networks.build("conv4", image_size=15)
    assert networks.build("conv4", **SMALL)(images()).shape == (6, 16)


def test_without_normalization_norms_are_free_and_directions_are_compared():
    network = seeded("conv4", normalize=False).eval()
    left_BCHW, right_BCHW = images(size=28), images(size=28, seed=1)
    z_BD = network(left_BCHW)
    assert (z_BD.norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(network.unit_vectors(z_BD), seeded("conv4").eval()(left_BCHW))
    torch.testing.assert_close(
        network.distance(left_BCHW, right_BCHW), seeded("conv4").eval().distance(left_BCHW, right_BCHW)
    )


def test_twins_are_the_same_up_to_the_threshold():
    network = seeded("conv4").eval()
    left_BCHW, right_BCHW = images(size=28), images(size=28, seed=1)
    d_B = network.distance(left_BCHW, right_BCHW)
    threshold = d_B.median().item()
    assert network.same(left_BCHW, right_BCHW, threshold).tolist() == [d <= threshold for d in d_B.tolist()]
    assert network.same(left_BCHW, left_BCHW, 1e-3).all()
    squared_B = network.same(left_BCHW, right_BCHW, threshold**2 * (1 + 1e-6), "squared")
    assert torch.equal(squared_B, network.same(left_BCHW, right_BCHW, threshold))


def test_dropout_drops_features_only_in_training_and_keeps_their_mean():
    layer = Dropout(0.25, seed=3)
    features = torch.ones(200, 500)
    dropped = layer.train()(features)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    assert torch.equal(layer.eval()(features), features)


def test_dropout_continues_from_its_stored_state_and_uses_no_other_random_numbers():
    network = seeded("conv4", dropout=0.5)
    before = torch.get_rng_state()
    network(images(size=28))
    stored = copy.deepcopy(network.state_dict())
    then = network(images(size=28))
    resumed = seeded("conv4", dropout=0.5)
    resumed.load_state_dict(stored)
    assert torch.equal(resumed(images(size=28)), then)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_does_not_change_the_initial_weights():
    one, other = seeded("conv4").state_dict(), seeded("conv4", dropout=0.5).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_batch_norm_spreads_untrained_embeddings_and_keeps_the_initial_weights():
    plain, normed = seeded("conv4"), seeded("conv4", batch_norm=True)
    assert all(torch.equal(weight, normed.state_dict()[name]) for name, weight in plain.state_dict().items())
    seen = []
    normed.batch_norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    z_BD = normed(images(64, size=28))
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(128), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0].var(0, correction=0), torch.ones(128), atol=0.05, rtol=0)
    assert distances.pairwise(z_BD).mean() > 2 * distances.pairwise(plain(images(64, size=28))).mean()


def test_batch_norm_accepts_a_single_image_after_training():
    network = seeded("conv4", batch_norm=True)
    network(images(64, size=28))
    several, alone = network.eval()(images(size=28)), network(images(size=28)[:1])
    torch.testing.assert_close(several[:1], alone)


@pytest.mark.parametrize("normalize", [True, False])
def test_an_image_and_its_views_are_averaged_outside_of_training(normalize):
    network, plain = (seeded("conv4", normalize=normalize, tta=tta).eval() for tta in (["mirrored", "smaller"], []))
    seen = images(size=28)
    mean = (plain(seen) + plain(seen.flip(3)) + plain(smaller(seen))) / 3
    expected = mean / mean.norm(dim=1, keepdim=True) if normalize else mean
    torch.testing.assert_close(network(seen), expected)
    assert torch.equal(network.train()(seen), plain.train()(seen))


def test_a_mirror_image_has_the_embedding_of_the_image():
    network = seeded("conv4", tta=["mirrored"]).eval()
    torch.testing.assert_close(network(images(size=28).flip(3)), network(images(size=28)))


@pytest.mark.parametrize(
    ("tta", "message"), [(["larg"], r"no view 'larg'\. Did you mean 'larger'"), (["a"], r"'a'\. Available: mirrored")]
)
def test_unknown_views_are_refused(tta, message):
    with pytest.raises(ValueError, match=message):
        networks.build("conv4", tta=tta)


def test_a_repeated_view_is_refused():
    with pytest.raises(ValueError, match=r"network\.tta .* each view once, but has 2 names: larger, larger"):
        networks.build("conv4", tta=["larger", "larger"])


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_outside_of_its_range_is_refused(dropout):
    with pytest.raises(ValueError, match=rf"at least 0 and below 1, but is {dropout}\."):
        networks.build("conv4", dropout=dropout)


def test_a_sphere_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match=r"embedding_dim must be at least 2, but is 1\."):
        networks.build("conv4", embedding_dim=1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("conv5", {}, r"There is no network 'conv5'\. Did you mean 'conv4'\? Available: .*conv4"),
        ("conv4", {"widht": 8}, r"The network 'conv4' has no option 'widht'\. Did you mean 'width'\?"),
        ("conv4", {"embeding_dim": 8}, r"has no option 'embeding_dim'\. Did you mean 'embedding_dim'\?"),
    ],
)
def test_unknown_names_and_options_are_refused_with_the_nearest(name, options, message):
    with pytest.raises(ValueError, match=message):
        networks.build(name, **options)
