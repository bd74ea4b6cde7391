"""`siamese_lab.fit` trains as the command does, bit by bit, on objects that it leaves as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FEW_STEPS, compose, last_weights
from rich.console import Console
from torch import Tensor

import siamese_lab as sl
from siamese_lab.training.run import train

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_plain_python.ipynb"
MOST_LINES = 15
STEPS = 6
N, CLASSES = 200, 20
LABELS_N = torch.arange(N) % CLASSES
"""Classes of a drawn data set: bars at the height of their number, in noise."""


def drawn() -> Tensor:
    noise_NCHW = torch.randint(0, 100, (N, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise_NCHW[torch.arange(N), 0, LABELS_N % 8] += 100
    noise_NCHW[torch.arange(N), 0, :, LABELS_N // 8] += 50
    return noise_NCHW


IMAGES_NCHW = drawn()


def mlp(**options: Any) -> sl.networks.SiameseNetwork:
    return sl.networks.build("mlp", **{"channels": 1, "image_size": 8, "seed": 0, "width": 16, **options})


def fitted(
    images: Any = (IMAGES_NCHW, LABELS_N), network: Any = None, sampler: Any = None, **options: Any
) -> sl.Fitted:
    """Train for a few steps on a CPU."""
    sampler = sl.samplers.build("distance_weighted") if sampler is None else sampler
    return sl.fit(
        images,
        mlp() if network is None else network,
        sampler,
        options.pop("loss", sl.losses.build("triplet", margin=0.2)),
        **{"steps": STEPS, "accelerator": "cpu", "progress": False, **options},
    )


def weights(result: sl.Fitted) -> dict[str, Tensor]:
    return dict(result.network.state_dict())


def are_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# --- equal to the command

CASES: dict[str, tuple[list[str], Callable[[], Any], Callable[[], Any], dict[str, Any]]] = {
    "glyphs": (
        ["data=glyphs", "sampler=distance_weighted", "network.width=4"],
        lambda: sl.data.build("glyphs", classes_per_batch=16),
        lambda: sl.networks.build("conv4", width=4, double_width=True, channels=1, image_size=28, seed=0),
        {"lr": 1e-3},
    ),
    "another seed than the parts have, label noise, augmentation, dropout, views and a memory": (
        [
            *("data=digits", "sampler=memory", "sampler.size=64", "seed=3", "network=mlp", "network.width=16"),
            *("data.label_noise=0.1", "data.augment={rotation:10,brightness:0.2}", "network.dropout=0.2"),
            *("network.tta=[mirror]", "recipe=none", "data.classes_per_batch=6"),
        ],
        lambda: sl.data.build(
            "digits", classes_per_batch=6, label_noise=0.1, augment={"rotation": 10, "brightness": 0.2}
        ),
        lambda: mlp(seed=3, dropout=0.2, tta=["mirror"]),
        {"seed": 3, "sampler": lambda: sl.samplers.build("memory", size=64)},
    ),
    "no step": (
        ["data=digits", "network=mlp", "network.width=16", "trainer.max_steps=0", "recipe=none"],
        lambda: sl.data.build("digits", classes_per_batch=6),
        mlp,
        {"steps": 0},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_command(case: str, tmp_path: Path) -> None:
    options, images, network, further = CASES[case]
    every = [*FEW_STEPS, f"trainer.max_steps={STEPS}", "logger=null", "metrics.floors=false", *options]
    run = train(compose(*every), tmp_path, every, Console(quiet=True))
    sampler = further.pop("sampler", lambda: None)()
    result = fitted(images(), network(), sampler, **further)
    saved = {name.removeprefix("network."): tensor for name, tensor in last_weights(tmp_path).items()}
    assert are_equal(saved, weights(result))
    assert (result.validation, result.test) == (run.validation, run.test)
    assert [point.validation for point in result.history] == [point.validation for point in run.history]
    assert result.collapse_reasons == run.collapse_reasons
