"""Export a network to a format that does not need this package: ONNX, or a program of `torch.export`.

The exported network takes images (float32 0…1, N×C×H×W, any N) and returns embeddings of unit norm (float32, N×D). It
is compared with the original before it is kept.

Shapes: B images, D embedding dimensions, C channels, H × W pixels.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from siamese_lab.errors import UserError
from siamese_lab.networks import SiameseNetwork

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
INPUT, OUTPUT = "images", "embeddings"
OLDEST_FOR_ONNX = "2.7"
"""Lowest version of PyTorch that exports a network to ONNX; version 2.6 fails."""
TOLERANCE = 1e-4
CHECKED = (1, 2, 7, 32)
"""Batch sizes of the random images that the two networks are compared on."""

Embed = Callable[[Tensor], Tensor]


class Embedding(nn.Module):
    """Maps images to unit vectors, also if the network itself does not normalize."""

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return z_BD of a batch of images (B, C, H, W)."""
        return self.network.unit_vectors(self.network(images))


def check_able(kind: Format) -> None:
    """Raise UserError if a package that the format needs is not installed, or PyTorch is too old to write it."""
    if kind == "onnx":
        _onnx()
        if TorchVersion(torch.__version__) < OLDEST_FOR_ONNX:
            raise UserError(
                f"format=onnx needs PyTorch {OLDEST_FOR_ONNX} or later, but {torch.__version__} is installed. Install "
                "a later one, or set format=torch."
            )


def export(network: SiameseNetwork, shape_CHW: tuple[int, int, int], kind: Format, path: Path, about: str) -> float:
    """Write a network to a file, and compare the exported network with the original on random images.

    Args:
        network: a network on the CPU.
        shape_CHW: shape of one input image.
        kind: the format.
        path: path of the file. An existing file is overwritten.
        about: JSON text that is stored in the file.

    Returns:
        The largest absolute difference between two components of the embeddings.

    Raises:
        UserError: if the difference is above 1e-4, or a package is missing. Delete the written file then.
    """
    module = Embedding(network).eval()
    two_BCHW = torch.zeros(2, *shape_CHW)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), _without_export_messages():
        if kind == "onnx":
            write_onnx(module, two_BCHW, batch, path, about)
            exported = load_onnx(path)
        else:
            program = torch.export.export(module, (two_BCHW,), dynamic_shapes={INPUT: {0: batch}})
            buffer = io.BytesIO()  # a full disk is then an OSError that names the cause
            torch.export.save(program, buffer, extra_files={"about.json": about})
            path.write_bytes(buffer.getbuffer())
            exported = load_torch(path)
        difference = greatest_difference(module, exported, shape_CHW)
    if not difference <= TOLERANCE:
        raise UserError(
            f"The embeddings of the exported network differ from the original's by up to {difference:.2g}, but "
            f"at most {TOLERANCE:g} is accepted, so the file was not kept. Try the other format, or another version of "
            "PyTorch."
        )
    return difference


def write_onnx(module: nn.Module, example: Tensor, batch: Any, path: Path, about: str) -> None:
    """Write an .onnx file that contains the weights."""
    check_able("onnx")
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
    program.save(path, external_data=False)


def load_onnx(path: Path) -> Embed:
    """Return a function that computes embeddings with an .onnx file, in onnxruntime on the CPU."""
    _, runtime = _onnx()
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def embed(images_BCHW: Tensor) -> Tensor:
        (z_BD,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images_BCHW.numpy())})
        return torch.from_numpy(z_BD)

    return embed


def load_torch(path: Path) -> Embed:
    """Return a function that computes embeddings with a program of `torch.export`."""
    embed: Embed = torch.export.load(path).module()
    return embed


def greatest_difference(original: Embed, exported: Embed, shape_CHW: tuple[int, int, int]) -> float:
    """Return the largest difference between the embeddings of random images, over several batch sizes.

    A NaN in either embedding counts as an infinite difference.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(count, *shape_CHW, generator=generator) for count in CHECKED]
    return max(float((original(each) - exported(each)).abs().max().nan_to_num(torch.inf)) for each in batches)


@contextmanager
def _without_export_messages() -> Iterator[None]:
    """Run the block without the warnings and log messages of the exporters of PyTorch."""
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
        import onnxscript  # noqa: F401 (PyTorch needs it to write ONNX)
    except ImportError as error:
        raise UserError(
            f"format=onnx needs {error.name}, which is not installed. Run `pip install 'siamese_lab[onnx]'`, or set "
            "format=torch."
        ) from error
    return onnx, onnxruntime
