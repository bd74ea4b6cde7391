"""The measures of embeddings: pure functions over tensors, and thin torchmetrics classes where state is needed.

Reports, plots and the choice of protocols are in `siamese_lab.evaluation`.
"""

from siamese_lab.metrics.registry import available, register
from siamese_lab.metrics.retrieval_metrics import RetrievalMetrics
from siamese_lab.registry import import_parts

import_parts("metric", __name__, __path__)
__all__ = ["RetrievalMetrics", "available", "register"]
