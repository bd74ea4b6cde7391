"""Clustering: does k-means with as many clusters as there are classes find the classes?

Shapes: N images, D embedding dimensions, C classes.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.metrics.health import check_embeddings


class Clustering(NamedTuple):
    """The agreement of clusters and classes."""

    nmi: float
    """Normalized mutual information, 0…1, by the mean of both entropies. Many small clusters raise it by chance."""
    ami: float
    """Adjusted mutual information, 0…1: about 0 for random embeddings, 1 for perfect clusters (Vinh et al. 2010)."""
    f1: float
    """F1 over pairs of images, 0…1: see `pairwise_f1`."""


def clustering_scores(z_ND: Tensor, labels_N: Tensor, seed: int = 0) -> Clustering:
    """Compute NMI, AMI and F1 of k-means with as many clusters as classes, by scikit-learn, on the CPU.

    Lloyd's algorithm runs over all images until it converges (the mini-batch approximation converges elsewhere), from
    one start of k-means++: seconds for 659 clusters of 13,180×128. torchmetrics has the same two scores, but its
    AMI loops over pairs of classes and clusters in Python, in float32: minutes.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes.
        seed: seed of the start.

    Raises:
        UserError: if an embedding is not finite, there is a single class, or every class has one image.
    """
    from sklearn.cluster import KMeans  # takes most of a second, which training does not need
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    check_embeddings("Clustering", z_ND, labels_N)
    classes = len(labels_N.unique())
    if classes < 2:
        raise UserError(f"Clustering needs at least 2 classes, but all {len(labels_N):,} images are of one.")
    if classes == len(labels_N):
        raise UserError(f"Clustering needs a class with at least 2 images, but all {classes:,} have one.")
    kmeans = KMeans(classes, n_init=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct embeddings than clusters: a low score
        cluster_N = kmeans.fit_predict(z_ND.float().cpu().numpy())
    both = labels_N.cpu().numpy(), cluster_N
    return Clustering(
        float(normalized_mutual_info_score(*both)),
        float(adjusted_mutual_info_score(*both)),
        pairwise_f1(labels_N, torch.from_numpy(cluster_N)),
    )


def pairwise_f1(labels_N: Tensor, cluster_N: Tensor) -> float:
    """Compute F1 = 2PR / (P + R) over pairs of images (Oh Song et al. 2016, arXiv:1511.06452, §5).

    Of the pairs of two images in one cluster, the precision P is the share that has one class. Of the pairs of one
    class, the recall R is the share that is in one cluster. With TP pairs of one class in one cluster, F1 is 2·TP over
    the number of pairs of one cluster plus the number of pairs of one class. 0 if there are no such pairs at all.

    Args:
        labels_N: the classes.
        cluster_N: the clusters, int64.

    >>> pairwise_f1(torch.tensor([0, 0, 0, 1]), torch.tensor([5, 5, 7, 7]))  # 1 pair of 2 found, 1 pair of 3 correct
    0.4
    """
    both_N2 = torch.stack([labels_N.cpu(), cluster_N.cpu()], 1)
    of_classes, of_clusters, true = (
        pairs_within(each.unique(return_counts=True, dim=0)[1]) for each in (both_N2[:, 0], both_N2[:, 1], both_N2)
    )
    return 2 * true / (of_classes + of_clusters) if of_classes + of_clusters else 0.0


def pairs_within(count_C: Tensor) -> int:
    """Return the number of pairs of two images within groups of these sizes."""
    return int((count_C * (count_C - 1) // 2).sum())
