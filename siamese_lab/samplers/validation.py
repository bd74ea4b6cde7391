"""Checks of a sampler's inputs: matching shapes and devices, and embeddings of unit norm.

Shapes: B images, D embedding dimensions.
"""

import torch
from torch import Tensor

from siamese_lab.errors import NonFiniteLossError
from siamese_lab.samplers.kernels import assert_on_device, on_eager_cpu

TOLERANCE = 0.005
"""Tolerance of the norm: the norms of bfloat16 embeddings differ from 1 by 0.002 at most."""


def check_shapes(z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None) -> None:
    """Raise ValueError unless each embedding has one integer label and, if ids are passed, one integer id."""
    for name, given in (("embeddings", z_BD), ("labels", labels_B), ("image_ids", image_ids_B)):
        if not isinstance(given, Tensor) and (given is not None or name != "image_ids"):
            raise ValueError(f"A sampler expects {name} as a torch.Tensor, but got {type(given).__name__}.")
    if z_BD.ndim != 2 or labels_B.shape != z_BD.shape[:1]:
        raise ValueError(
            f"A sampler expects embeddings of shape (B, D) and labels of shape (B,), but got "
            f"{tuple(z_BD.shape)} and {tuple(labels_B.shape)}."
        )
    if len(z_BD) == 0:
        raise ValueError("A sampler expects a batch of images, but got an empty batch.")
    if not z_BD.is_floating_point():
        raise ValueError(f"A sampler expects embeddings of a floating type, but got {z_BD.dtype}.")
    for name, index_B in (("labels", labels_B), ("image_ids", image_ids_B)):
        if index_B is None:
            continue
        if index_B.shape != labels_B.shape:
            raise ValueError(
                f"{name} must have the shape of labels, {tuple(labels_B.shape)}, but got {tuple(index_B.shape)}."
            )
        if index_B.is_floating_point() or index_B.dtype == torch.bool:
            raise ValueError(f"{name} must be integers, but got {index_B.dtype}.")
        if z_BD.device != index_B.device:
            raise ValueError(
                f"Embeddings and {name} must be on the same device, but are on {z_BD.device} and {index_B.device}."
            )


def check_embeddings(z_BD: Tensor, finite_only: bool) -> None:
    """Check that embeddings are unit vectors.

    On a GPU, and when compiled, the check is a device-side assertion.

    Args:
        z_BD: float32.
        finite_only: treat NaN as an error, too.

    Raises:
        NonFiniteLossError: if an embedding is NaN, infinite or zero, for example because training diverged.
        ValueError: if an embedding has another norm than 1.
    """
    norm_B = torch.linalg.vector_norm(z_BD, dim=1)
    if not on_eager_cpu(z_BD.device):
        off_B = norm_B - 1
        assert_on_device(((off_B.abs() <= TOLERANCE) | off_B.isnan()).all(), "Embeddings do not have unit norm.")
        return
    least, most = map(float, norm_B.aminmax())
    if (least >= 1 - TOLERANCE and most <= 1 + TOLERANCE) or (least != least and not finite_only):
        return
    broken_B = ~z_BD.isfinite().all(1)
    if broken_B.any():
        raise NonFiniteLossError(
            f"{int(broken_B.sum())} of {len(z_BD)} embeddings are not finite; the first is that of image "
            f"{int(broken_B.int().argmax())}. A smaller learning rate or float32 precision may help."
        )
    image = int((norm_B - 1).abs().argmax())
    norm = float(norm_B[image])
    expected = f"A sampler expects embeddings of norm 1, but that of image {image} has norm {norm:.3g}."
    if norm == 0:
        raise NonFiniteLossError(
            f"{expected} A zero vector has no direction: the network returned zeros for this image. "
            "A smaller learning rate or float32 precision may help."
        )
    raise ValueError(f"{expected} Normalize with torch.nn.functional.normalize(z_BD, dim=1).")
