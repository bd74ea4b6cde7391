"""List the parts that the lab ships. They have more tests than the contract that every registered part passes.

A part that is added to the repository for good is listed here. Then tests require its README row, its full YAML file
and its oracle. `siamese_lab/contracts` checks only the contract.
"""

SAMPLERS = (
    "all",
    "batch_hard",
    "curriculum",
    "distance_weighted",
    "easy_positive",
    "hard",
    "memory",
    "multi_similarity",
    "none",
    "random",
    "semi_hard",
)
LOSSES = (
    "arcface",
    "circle",
    "contrastive",
    "margin",
    "multi_similarity",
    "n_pair",
    "proxy_anchor",
    "softmax",
    "supcon",
    "triplet",
)
LABEL_LOSSES = ("arcface", "circle", "multi_similarity", "proxy_anchor", "softmax", "supcon")
"""Losses that use labels and no triplets, so that they need sampler=none."""
TRIPLET_LOSSES = tuple(loss for loss in LOSSES if loss not in LABEL_LOSSES)
NETWORKS = ("conv4", "koch", "mlp", "resnet10", "resnet18", "resnet50")
PUBLISHED = ("cars196", "cub200", "inshop", "market1501", "sop")
"""Published image sets, of which tests write small copies (tests/synthetic_sets.py)."""
DATA = (
    *PUBLISHED,
    "digits",
    "fashion_mnist",
    "features",
    "glyphs",
    "image_folder",
    "lfw",
    "lfw_closed",
    "mnist",
    "omniglot",
    "table",
)
RETRIEVAL_FIGURES = [
    "recall@1",
    "recall@2",
    "recall@4",
    "recall@8",
    "r_precision",
    "map@r",
    "mrr",
    "recall@1_macro",
    "map@r_macro",
]
"""Names of the metrics that every validation and test computes, in the order of the results."""
METRICS = ("class_recall",)
BY_GROUP = {"sampler": SAMPLERS, "loss": LOSSES, "network": NETWORKS, "data": DATA}


def choosing(strategy: str) -> tuple[str, ...]:
    """Return the overrides of a run with a strategy and, if the strategy selects nothing, a loss that needs nothing."""
    return (f"sampler={strategy}", "loss=softmax") if strategy == "none" else (f"sampler={strategy}",)
