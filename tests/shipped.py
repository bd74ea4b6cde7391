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
    "random",
    "semi_hard",
)
LOSSES = ("contrastive", "margin", "n_pair", "triplet")
NETWORKS = ("conv4", "koch", "mlp", "resnet10", "resnet18", "resnet50")
DATA = ("digits", "fashion_mnist", "glyphs", "image_folder", "lfw", "mnist", "omniglot")
METRICS = ("class_recall",)
BY_GROUP = {"sampler": SAMPLERS, "loss": LOSSES, "network": NETWORKS, "data": DATA}
