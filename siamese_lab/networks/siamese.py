"""The Siamese network: one backbone for both images of a pair, a linear layer, unit norm (Bromley et al. 1993).

Shapes: B images of C × H × W, D embedding dimensions.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.errors import UserError
from siamese_lab.networks.dropout import Dropout
from siamese_lab.networks.side_by_side import compute_side_by_side
from siamese_lab.networks.views import VIEWS, check_tta
from siamese_lab.registry import Registry


class Backbone(nn.Module):
    """Maps images (B, channels, image_size, image_size), float 0…1, to features (B, `features`)."""

    features: int
    """Number of features of an image."""
    accepts_features: bool = False
    """True if the backbone looks for no patterns among pixels, so that it also takes frozen features (F × 1 × 1)."""

    is_frozen = False
    """True while no weight of the backbone is trained."""

    def before_step(self, step: int) -> None:
        """Prepare for a training step; `step` steps are done. A resumed run passes the number that it has reached."""

    def layer_depths(self) -> Mapping[str, int]:
        """Return by the name of each weight how many layer groups lie between it and the embedding layer.

        Empty for a backbone without layer groups. `network.layer_decay` gives each group its own learning rate.
        """
        return {}

    def load_initial_weights(self) -> None:
        """Load pretrained weights, if there are any. An evaluation, which loads a checkpoint, does not call it."""


registry: Registry[Backbone] = Registry("network")
register = registry.register
available = registry.available


class SiameseNetwork(nn.Module):
    """Chains backbone → dropout → linear → batch norm → unit norm, in channels-last layout, which is faster everywhere.

    Args:
        backbone: maps images to features.
        embedding_dim: D, at least 2, because a sphere in one dimension consists of two points.
        normalize: return embeddings of unit norm. If False, only the loss sees embedding norms; every comparison uses
            `unit_vectors`.
        dropout: share of features that training drops.
        batch_norm: center and scale the dimensions of the embeddings over the batch, before normalization (the last
            part of the head of Deng et al. 2019, arXiv:1801.07698, §3.1). Without it all embeddings of an untrained
            network have nearly the same direction, and training must first separate them.
        tta: test-time augmentation: names of views (see `views.VIEWS`). Outside training, the embedding of an image is
            the mean over the image and these views. Each view adds the time of one embedding.
        head_lr: learning rate of the layers after the backbone; None is that of the backbone. A pretrained backbone
            needs a lower one.
        layer_decay: factor of the learning rate from each layer group to the one before it (Bao et al. 2022,
            arXiv:2106.08254). It begins at the embedding layer, so the last group of the backbone has `layer_decay`
            times the learning rate of the optimizer. None is no decay.
        seed: seed of dropout.
    """

    def __init__(
        self,
        backbone: Backbone,
        embedding_dim: int = 128,
        normalize: bool = True,
        dropout: float = 0.0,
        batch_norm: bool = False,
        tta: Sequence[str] = (),
        head_lr: float | None = None,
        layer_decay: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if layer_decay is not None and not 0 < layer_decay <= 1:
            raise UserError(f"layer_decay must be null, or above 0 and at most 1, but is {layer_decay}.")
        if layer_decay is not None and not backbone.layer_depths():
            kind = type(backbone).__name__
            raise UserError(
                f"network.layer_decay={layer_decay} needs a backbone with layer groups, but {kind} has none. "
                "Set network.layer_decay=null, or choose a model of network=timm."
            )
        if head_lr is not None and not 0 < head_lr < float("inf"):
            raise UserError(f"head_lr must be null or above 0, but is {head_lr}.")
        if embedding_dim < 2:
            raise UserError(f"embedding_dim must be at least 2, but is {embedding_dim}.")
        self.embedding_dim = embedding_dim
        self.normalize = normalize
        self.head_lr = head_lr
        self.layer_decay = layer_decay
        self.tta = check_tta(tta)
        self.backbone = backbone
        self.dropout = Dropout(dropout, seed) if dropout else nn.Identity()
        if not isinstance(getattr(backbone, "features", None), int):
            raise UserError(
                f"{type(backbone).__name__} must set `features`, the number of features of an image, to a whole number."
            )
        self.embed = nn.Linear(backbone.features, embedding_dim)
        self.batch_norm = nn.BatchNorm1d(embedding_dim) if batch_norm else nn.Identity()
        self.to(memory_format=torch.channels_last)
        compute_side_by_side(self)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return embeddings z_BD of images (float, 0…1): float32 also under autocast, of unit norm if `normalize`."""
        z_BD = self._embed(images_BCHW)
        if self.training or not self.tta:
            return z_BD
        for view in self.tta:
            z_BD = z_BD + self._embed(VIEWS[view](images_BCHW))
        return self._of_wanted_norm(z_BD / (1 + len(self.tta)))

    def _embed(self, images_BCHW: Tensor) -> Tensor:
        if images_BCHW.ndim != 4 or not images_BCHW.is_floating_point():
            raise ValueError(
                f"A network expects images of shape (B, C, H, W) as floats in 0…1, but got {images_BCHW.dtype} "
                f"{tuple(images_BCHW.shape)}. Divide 8-bit images by 255, and add a dimension to a single image."
            )
        images_BCHW = images_BCHW.to(self.embed.weight.dtype)  # trainer.precision=64-true has weights in float64
        features = self.backbone(images_BCHW.contiguous(memory_format=torch.channels_last))
        if features.ndim != 2 or features.shape[1] != self.embed.in_features:
            raise UserError(
                f"{type(self.backbone).__name__} says features={self.embed.in_features}, but it returned features of "
                f"shape {tuple(features.shape)} for images of shape {tuple(images_BCHW.shape)}. It must return "
                "(B, features), for the image size that it was built for."
            )
        features = self.dropout(features)
        z_BD = self.embed(features)
        return self._of_wanted_norm(self.batch_norm(z_BD.to(torch.promote_types(z_BD.dtype, torch.float32))))

    def _of_wanted_norm(self, z_BD: Tensor) -> Tensor:
        return F.normalize(z_BD, dim=1) if self.normalize else z_BD

    def unit_vectors(self, z_BD: Tensor) -> Tensor:
        """Return embeddings as unit vectors; unchanged if `normalize`."""
        return z_BD if self.normalize else F.normalize(z_BD, dim=1)

    def distance(self, left_BCHW: Tensor, right_BCHW: Tensor, kind: distances.Kind = "plain") -> Tensor:
        """Return the distances d_B between corresponding images of two batches."""
        return distances.rowwise(self.unit_vectors(self(left_BCHW)), self.unit_vectors(self(right_BCHW)), kind)

    def same(self, left_BCHW: Tensor, right_BCHW: Tensor, threshold: float, kind: distances.Kind = "plain") -> Tensor:
        """Return True for corresponding images with a distance of at most `threshold`, which means the same class.

        Args:
            left_BCHW: images.
            right_BCHW: the same number of other images.
            threshold: in units of `kind`, chosen on other images.
            kind: "plain" (0…2) or "squared" (0…4).

        Returns:
            Booleans (B,).
        """
        return self.distance(left_BCHW, right_BCHW, kind) <= threshold
