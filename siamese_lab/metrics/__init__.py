"""How good embeddings are: pure functions over tensors, with thin shells where state must be kept."""
