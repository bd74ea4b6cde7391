"""How good embeddings are: pure functions over tensors, with thin shells where state must be kept."""

from siamese_lab.metrics.registry import available, register
from siamese_lab.metrics.retrieval_metrics import RetrievalMetrics
from siamese_lab.registry import import_parts

import_parts("metric", __name__, __path__)
__all__ = ["RetrievalMetrics", "available", "register"]
