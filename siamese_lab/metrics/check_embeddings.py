"""What a metric refuses: shapes that do not match, and embeddings that are not finite.

Shapes: N images, D embedding dimensions.
"""

from torch import Tensor

from siamese_lab.errors import UserError


def check_embeddings(what: str, z_ND: Tensor, labels_N: Tensor) -> None:
    """Raise ValueError, about `what`, unless each embedding has one label, and UserError unless all are finite."""
    if z_ND.ndim != 2 or labels_N.shape != z_ND.shape[:1]:
        raise ValueError(
            f"{what} expects embeddings (N, D) and labels (N,), "
            f"but got {tuple(z_ND.shape)} and {tuple(labels_N.shape)}."
        )
    check_finite(z_ND)


def check_finite(z_ND: Tensor) -> None:
    """Raise UserError where an embedding is NaN or infinite, with the first image whose is."""
    finite_N = z_ND.isfinite().all(1)
    if not finite_N.all():
        raise UserError(
            f"{int((~finite_N).sum()):,} of {len(z_ND):,} embeddings are not finite, the first of them that of image "
            f"{int((~finite_N).int().argmax())}. The network has diverged: train it with a smaller learning rate, or "
            "evaluate an earlier checkpoint."
        )
