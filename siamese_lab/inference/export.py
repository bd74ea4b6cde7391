"""A network in a format that needs nothing of this package: ONNX, or a program of `torch.export`.

What is exported takes images (float32 0…1, N×C×H×W, any N) and gives embeddings of unit norm (float32, N×D). It is
compared with the original before it is kept.

Shapes: B images, D embedding dimensions, C channels, H × W pixels.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from siamese_lab.errors import UserError
from siamese_lab.networks import SiameseNetwork

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
INPUT, OUTPUT = "images", "embeddings"
TOLERANCE = 1e-4
CHECKED = (1, 2, 7, 32)
"""Numbers of random images that are compared."""

Embed = Callable[[Tensor], Tensor]


class Embedding(nn.Module):
    """Images to unit vectors, whether or not the network normalises by itself."""

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """z_BD of images (B, C, H, W)."""
        return self.network.unit_vectors(self.network(images))


def check_able(kind: Format) -> None:
    """Raise UserError where a package that a format needs is not installed."""
    if kind == "onnx":
        _onnx()


def export(network: SiameseNetwork, shape_CHW: tuple[int, int, int], kind: Format, place: Path, about: str) -> float:
    """Write a network, and compare what was written with the original on random images.

    Args:
        network: on the CPU.
        shape_CHW: of its images.
        kind: the format.
        place: the file, which is written over.
        about: text that is put into the file, in JSON.

    Returns:
        The greatest difference that any number of any embedding had.

    Raises:
        UserError: if it is above 1e-4, or a package is missing. What was written is of no use then.
    """
    module = Embedding(network).eval()
    two_BCHW = torch.zeros(2, *shape_CHW)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), _quiet():
        if kind == "onnx":
            write_onnx(module, two_BCHW, batch, place, about)
            exported = of_onnx(place)
        else:
            program = torch.export.export(module, (two_BCHW,), dynamic_shapes={INPUT: {0: batch}})
            torch.export.save(program, place, extra_files={"about.json": about})
            exported = of_torch(place)
        difference = greatest_difference(module, exported, shape_CHW)
    if not difference <= TOLERANCE:
        raise UserError(
            f"The exported network gives embeddings that differ from the original's by up to {difference:.2g}, more "
            f"than {TOLERANCE:g}, so it was not kept. Try the other format, or another version of PyTorch."
        )
    return difference


def write_onnx(module: nn.Module, example: Tensor, batch: Any, place: Path, about: str) -> None:
    """As one file, weights within."""
    _onnx()
    program = torch.onnx.export(
        module,
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: batch}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["siamese_lab"] = about
    program.save(place, external_data=False)


def of_onnx(place: Path) -> Embed:
    """What an .onnx computes, by onnxruntime on the CPU."""
    _, runtime = _onnx()
    session = runtime.InferenceSession(str(place), providers=["CPUExecutionProvider"])

    def embed(images_BCHW: Tensor) -> Tensor:
        (z_BD,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images_BCHW.numpy())})
        return torch.from_numpy(z_BD)

    return embed


def of_torch(place: Path) -> Embed:
    """What a program of `torch.export` computes."""
    embed: Embed = torch.export.load(place).module()
    return embed


def greatest_difference(original: Embed, exported: Embed, shape_CHW: tuple[int, int, int]) -> float:
    """Of any number of the embeddings of random images, in batches of several sizes; NaN where one has NaN."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(count, *shape_CHW, generator=generator) for count in CHECKED]
    return max(float((original(each) - exported(each)).abs().max().nan_to_num(torch.inf)) for each in batches)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch says of its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (by which PyTorch writes ONNX)
    except ImportError as error:
        raise UserError(
            f"format=onnx needs {error.name}: pip install 'siamese_lab[onnx]'. Or take format=torch."
        ) from error
    return onnx, onnxruntime
