"""A trained network put to use: images of any kind in; embeddings, distances, decisions and other formats out."""
