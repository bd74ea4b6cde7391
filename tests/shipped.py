"""The parts that the lab ships: each is held to more than the contract that every registered part passes.

A part that is added to the repository for good is entered here, which asks for its README row, its full YAML and its
oracle. The contract alone is `siamese_lab/contracts`.
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
