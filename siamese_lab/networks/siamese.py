"""The Siamese network: one backbone for both twins, a linear layer, and the unit sphere (Bromley et al. 1993).

Shapes: B images of C × H × W, D embedding dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.networks.backbone import Backbone


class SiameseNetwork(nn.Module):
    """Backbone → linear → unit norm; its weights are kept channels-last, which a CPU and a GPU both run faster.

    Args:
        backbone: images to features.
        embedding_dim: D; at least 2, as a sphere in one dimension is two points.
    """

    def __init__(self, backbone: Backbone, embedding_dim: int = 128) -> None:
        super().__init__()
        if embedding_dim < 2:
            raise ValueError(f"embedding_dim must be at least 2, but is {embedding_dim}.")
        self.embedding_dim = embedding_dim
        self.backbone = backbone
        self.embed = nn.Linear(backbone.features, embedding_dim)
        self.to(memory_format=torch.channels_last)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Embeddings z_BD of images (float, 0…1): unit norm, float32 also under autocast."""
        features = self.backbone(images_BCHW.contiguous(memory_format=torch.channels_last))
        return F.normalize(self.embed(features).float(), dim=1)

    def distance(self, left_BCHW: Tensor, right_BCHW: Tensor, kind: distances.Kind = "plain") -> Tensor:
        """The twins' answer: the distance d_B between corresponding images of two batches."""
        return distances.rowwise(self(left_BCHW), self(right_BCHW), kind)
