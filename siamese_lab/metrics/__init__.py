"""How good embeddings are: pure functions over tensors, with thin shells where state must be kept."""

from siamese_lab.metrics.retrieval_metrics import RetrievalMetrics

__all__ = ["RetrievalMetrics"]
