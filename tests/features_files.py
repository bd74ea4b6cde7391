"""Write a file of random features with many classes, for tests that only need one."""

from pathlib import Path

import torch

from siamese_lab.data.io.features_file import PARTS, AboutFeatures, StoredFeatures, write_features
from siamese_lab.data.tables.feature_table import FeatureTable


def write_random(path: Path, classes: int = 40, features: int = 5) -> Path:
    """Write features of four images for each class and part, and return the path."""
    about = AboutFeatures(
        features, "ab" * 32, "conv4", "8×8 pixels in grayscale", {"name": "digits"}, "Random", None, {}
    )
    stored_SF = torch.randn(3 * 4 * classes, features, generator=torch.Generator().manual_seed(0))
    labels_N, names = torch.arange(classes).repeat(4), tuple(map(str, range(classes)))
    rows = torch.arange(len(stored_SF)).split(len(labels_N))
    tables = {part: FeatureTable(stored_SF, labels_N, names, row_N) for part, row_N in zip(PARTS, rows, strict=True)}
    write_features(StoredFeatures(about, tables), path)
    return path
