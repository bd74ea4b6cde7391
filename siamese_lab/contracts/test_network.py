"""The contract of a network: a backbone that states its features, and learns with every weight.

Shapes: B images of C channels, H × W pixels, D embedding dimensions.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from siamese_lab import networks
from siamese_lab.contracts import check_config, composed
from siamese_lab.networks.siamese import registry
from siamese_lab.registry import options_of

BY_TRAINING = {"channels", "image_size"}
"""Options that a run sets from its data."""
SIDE = 32
every_network = pytest.mark.parametrize("name", networks.available())


def build(name: str, seed: int = 0, **options: Any) -> networks.SiameseNetwork:
    """Build a network with the options of its YAML and the initial weights of a seed."""
    torch.manual_seed(seed)
    return networks.build(**composed("network", name) | {"image_size": SIDE} | options)


def images(channels: int = 1, count: int = 6) -> Tensor:
    """Return random images."""
    return torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@every_network
def test_its_config_chooses_it_by_name(name: str) -> None:
    known = {*options_of(registry.classes[name]), *networks.OPTIONS} - BY_TRAINING
    check_config("network", name, known)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("channels", [1, 3])
def test_the_backbone_gives_as_many_features_as_it_states(name: str, channels: int) -> None:
    backbone = build(name, channels=channels).backbone.eval()
    assert backbone(images(channels)).shape == (6, backbone.features)


@every_network
def test_embeddings_are_float32_unit_vectors_under_autocast_too(name: str) -> None:
    network = build(name, embedding_dim=24).eval()
    with torch.autocast("cpu", torch.bfloat16):
        halved_BD = network(images())
    for z_BD in (network(images()), halved_BD):
        assert (z_BD.shape, z_BD.dtype) == ((6, 24), torch.float32)
        torch.testing.assert_close(z_BD.norm(dim=1), torch.ones(6))


@pytest.mark.slow
@every_network
def test_an_image_has_the_same_embedding_alone_and_in_a_batch(name: str) -> None:
    network = build(name).eval()
    torch.testing.assert_close(network(images())[:1], network(images()[:1]), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@every_network
def test_the_seed_decides_the_initial_weights(name: str) -> None:
    first, same, other = (dict(build(name, seed).named_parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.slow
@every_network
def test_every_weight_learns(name: str) -> None:
    network = build(name, dropout=0.0)
    (network(images()) * torch.randn(6, network.embedding_dim)).sum().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), f"{key} has no finite gradient"
