"""Recall@1 averaged over classes, so that each class counts once, however many images it has.

Shapes: N images, D embedding dimensions.
"""

from torch import Tensor

from siamese_lab.metrics.registry import register
from siamese_lab.metrics.retrieval import per_class, retrieve


@register("class_recall")
def class_recall(z_ND: Tensor, labels_N: Tensor) -> dict[str, Tensor]:
    """Return the mean over classes of the share of queries with a nearest other image of their class.

    >>> import torch
    >>> z_ND = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.2]]))
    >>> class_recall(z_ND, torch.tensor([0, 0, 1, 1]))
    {'class_recall@1': tensor(0.5000)}
    """
    found = retrieve(z_ND, labels_N, (1,))
    of_class = per_class(found.values()["recall@1"], labels_N[found.query_Q])
    return {"class_recall@1": of_class.mean_C.mean()}
