"""The legal range of every option of every strategy, to draw from, and batches of every shape, degenerate ones too.

Shapes: B images, D embedding dimensions.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from shipped import SAMPLERS
from torch import Tensor

from siamese_lab import samplers
from siamese_lab.batch import Triplets

LISTING = [name for name in SAMPLERS if samplers.registry.classes[name].triplet_type is Triplets]
POSITIVE = st.one_of(
    st.sampled_from([5e-324, 1e-30, 1e-6, 1e300, float("inf")]), st.floats(0, 2.5, exclude_min=True), st.floats(1e-3, 1)
)
"""Numbers above 0: usual ones, small ones and everything up to infinity."""
DISTANCE = st.sampled_from(["plain", "squared"])
CHOICE = st.sampled_from(["uniform", "nearest"])

BASE: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.one_of(st.integers(-(2**63), 2**63), st.integers(0, 9)),
    "num_negatives": st.one_of(st.just(1), st.integers(1, 4)),
    "finite_only": st.booleans(),
    "images_per_class": st.none(),  # `batches` passes the number of images per class where the classes are even
}
"""Options of all strategies."""


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Draw 0 < nearest < cutoff ≤ 2, and λ of every order of magnitude, because 1/q has every one."""
    cutoff = draw(st.one_of(st.sampled_from([1.4, 2.0]), st.floats(0.01, 2.0)))
    nearest = draw(st.one_of(st.floats(0, cutoff, exclude_min=True, exclude_max=True), st.just(cutoff / 2)))
    of_any_size = st.floats(-700, 700).map(lambda log_limit: float(torch.tensor(log_limit).double().exp()))
    near_one = st.floats(-3, 12).map(lambda log_limit: 2.718281828**log_limit)
    return {
        "nearest": nearest,
        "cutoff": cutoff,
        "weight_limit": draw(st.one_of(st.none(), near_one, of_any_size, POSITIVE)),
    }


@st.composite
def stages(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a curriculum of one to three strategies with drawn options."""
    ends = sorted(draw(st.sets(st.floats(0.05, 0.95), max_size=2)))
    combined = []
    for until in [*ends, 1.0]:
        name = draw(st.sampled_from(SIMPLE))
        combined.append({"name": name, "until": until, **draw(OWN[name])})
    return combined


@st.composite
def remembering(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a memory with a strategy and its options."""
    strategy = draw(st.sampled_from(SIMPLE))
    options = draw(OWN[strategy])
    return {
        "strategy": strategy,
        "size": draw(st.integers(1, 40)),
        "margin": options.pop("margin", None) or draw(POSITIVE),
        "distance": options.pop("distance", None) or draw(DISTANCE),
        "options": options,
    }


OWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "all": st.fixed_dictionaries({"semi_hard": st.booleans()}),
    "batch_hard": st.just({}),
    "distance_weighted": limits(),
    "easy_positive": st.just({}),
    "hard": st.just({}),
    "none": st.just({}),
    "multi_similarity": st.fixed_dictionaries({"epsilon": st.one_of(st.just(0.0), POSITIVE)}),
    "random": st.just({}),
    "semi_hard": st.fixed_dictionaries({"margin": POSITIVE, "choice": CHOICE, "distance": DISTANCE}),
}
"""The options that only one strategy has."""
SIMPLE = [name for name in OWN if name not in ("all", "none")]
"""Strategies that another one can combine."""
OWN |= {"curriculum": stages().map(lambda drawn: {"stages": drawn}), "memory": remembering()}


class Drawn(NamedTuple):
    """A drawn batch."""

    z_BD: Tensor
    labels_B: Tensor
    images_per_class: int | None


GEOMETRIES = ("clusters", "anywhere", "identical", "few_places", "antipodal", "one_axis")


@st.composite
def batches(draw: st.DrawFn) -> Drawn:
    """Draw a batch of two or more classes, even or uneven, of embeddings that may coincide or be opposite."""
    if draw(st.booleans()):
        images_per_class = draw(st.integers(2, 4))
        sizes = [images_per_class] * draw(st.integers(2, 5))
    else:
        images_per_class = None
        sizes = [*draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)), draw(st.integers(2, 4))]
    seed = draw(st.integers(0, 2**31))
    dimensions = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 128, 512]))
    geometry = draw(st.sampled_from(GEOMETRIES))
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64]))
    generator = torch.Generator().manual_seed(seed)
    class_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    class_B = class_B[torch.randperm(len(class_B), generator=generator)]
    x_BD = embeddings(geometry, class_B, dimensions, generator)
    return Drawn(F.normalize(x_BD, dim=1).to(dtype), class_B * 7 - 3, images_per_class)


def embeddings(geometry: str, class_B: Tensor, dimensions: int, generator: torch.Generator) -> Tensor:
    """Return the embeddings of a geometry, not normalized."""
    noise_BD = torch.randn(len(class_B), dimensions, generator=generator)
    spread = float(torch.rand((), generator=generator)) * 3
    center_PD = torch.randn(int(class_B.max()) + 1, dimensions, generator=generator)
    if geometry == "clusters":
        return F.normalize(center_PD[class_B], dim=1) + noise_BD * spread / dimensions**0.5
    if geometry == "anywhere":
        return noise_BD
    if geometry == "identical":
        return center_PD[:1].expand_as(noise_BD)
    if geometry == "few_places":
        return noise_BD[torch.randint(min(3, len(class_B)), class_B.shape, generator=generator)]
    sign_B1 = torch.randint(2, (len(class_B), 1), generator=generator) * 2.0 - 1
    if geometry == "antipodal":
        return center_PD[:1] * sign_B1
    axis_B = torch.randint(dimensions, class_B.shape, generator=generator)  # distances of exactly 0, √2 and 2
    return F.one_hot(axis_B, dimensions) * sign_B1
