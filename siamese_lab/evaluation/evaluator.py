"""From a network and a data set to all that is reported, by whatever protocols the set has images for.

Shapes: N images, M of others than the test images, D embedding dimensions.
"""

from collections.abc import Sequence

from lightning import Fabric
from rich.console import Console
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.evaluation import protocols
from siamese_lab.evaluation.embed import embed
from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.stages import Stages
from siamese_lab.metrics import retrieval
from siamese_lab.networks import SiameseNetwork

EPISODES = ((20, 1), (20, 5), (5, 1), (5, 5))
"""Ways and shots, first those that Lake's runs have too."""
QUERIES = 15
"""Images of each class that an episode classifies."""


def evaluate(
    network: SiameseNetwork,
    images: DataModule,
    *,
    distance: retrieval.Distance = "cosine",
    k: Sequence[int] = retrieval.KS,
    index: retrieval.Index = "exact",
    pairs: int = 20_000,
    episodes: int = 1000,
    seed: int = 0,
    fabric: Fabric | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Every figure that this set can give of the network, on its test images.

    Args:
        network: nothing of it is changed but its device, which becomes that of `fabric`.
        images: whose test images are retrieved, verified, classified and clustered; its validation images give the
            threshold for pairs drawn from these.
        distance: how retrieval compares: "cosine" the directions of embeddings, "euclidean" embeddings as they are.
        k: of Recall@K.
        index: "exact", or "faiss" for approximate neighbours.
        pairs: how many to draw for verification; fewer where there are not as many, and 0 for none.
        episodes: how many of each kind; 0 for none.
        seed: of all that is drawn.
        fabric: the device and precision; by default the CPU in float32.
        console: where to show progress; by default nowhere.

    Raises:
        UserError: for options out of range, a set without a class of two images, and embeddings that are not finite.
    """
    check_counts(pairs, episodes)
    check_classes(images.splits.test)
    under_way = _UnderWay(network, images, fabric or Fabric(accelerator="cpu", devices=1), Stages(console), seed)
    under_way.retrieve(distance, k, index)
    if pairs:
        under_way.verify_drawn(pairs)
    under_way.verify_official()
    under_way.classify_official_runs()
    if episodes:
        under_way.classify_at_random(episodes)
    under_way.cluster()
    under_way.look_at_health()
    return under_way.evaluation


def check_counts(pairs: int, episodes: int) -> None:
    """Raise UserError for numbers of what is drawn that make no sense."""
    if pairs < 0 or pairs % 2:
        raise UserError(f"pairs is even, as half of them are of one class, and at least 0, but is {pairs}.")
    if episodes < 0 or episodes == 1:
        raise UserError(f"episodes is 0, for none, or at least 2, for an interval, but is {episodes}.")


def check_classes(table: BaseTable) -> None:
    """Raise UserError for images that can say nothing, before they are embedded."""
    retrieval.check_labels(table.labels_N)
    if len(classes := table.labels_N.unique()) < 2:
        raise UserError(
            f"All {len(table):,} test images are of one class, {table.class_names[int(classes[0])]!r}, so there is "
            "nothing to tell apart. Evaluate on a set of at least 2 classes."
        )


class _UnderWay:
    """An evaluation, protocol by protocol."""

    def __init__(self, network: SiameseNetwork, images: DataModule, fabric: Fabric, stages: Stages, seed: int) -> None:
        self.network, self.images, self.fabric, self.stages, self.seed = network, images, fabric, stages, seed
        network.to(fabric.device)
        self.table = images.splits.test
        self.raw_ND = self.embedded("test images", self.table)
        self.z_ND = network.direction(self.raw_ND)
        self.labels_N = self.table.labels_N.to(fabric.device)
        self.evaluation = Evaluation(self.table, self.z_ND, seconds=stages.seconds)

    def embedded(self, name: str, table: BaseTable) -> Tensor:
        """What the network gives, of any length."""
        with self.stages.running(f"Embedding {name}", len(table)) as advance:
            return embed(self.network, table, self.fabric, self.images.eval_batch_size, advance)

    def directions(self, name: str, table: BaseTable) -> Tensor:
        """The same, of unit length."""
        return self.network.direction(self.embedded(name, table))

    def retrieve(self, distance: retrieval.Distance, k: Sequence[int], index: retrieval.Index) -> None:
        """All queries, and the classes they are of."""
        compared_ND = self.raw_ND if distance == "euclidean" else self.z_ND
        with self.stages.running("Retrieval"):
            found = retrieval.retrieve(compared_ND, self.labels_N, k, distance=distance, index=index)
        with self.stages.running("Retrieval: intervals"):
            self.evaluation.protocols["retrieval"] = protocols.retrieval(found, self.labels_N, distance, self.seed)
        self.evaluation.classes = protocols.classes(found, self.labels_N, self.table.class_names)

    def verify_drawn(self, number: int) -> None:
        """Pairs of test images, by a threshold from pairs of validation images."""
        held_out = self.images.splits.validation
        decide = protocols.draw(self.z_ND, self.labels_N, number, self.seed)
        choose = protocols.draw(self.directions("validation images", held_out), held_out.labels_N, number, self.seed)
        name = "verification_sampled"
        if decide is None or choose is None:
            part = "test" if decide is None else "validation"
            self.evaluation.left_out[name] = f"The {part} images make no pairs of one class, or none of two."
            return
        self.keep(name, protocols.sampled_verification(choose, decide, self.seed, self.stages))

    def verify_official(self) -> None:
        """The pairs that the set's protocol names, where it names some."""
        try:
            official = self.images.official_pairs
        except UserError as error:
            self.evaluation.left_out["verification_official"] = str(error)
            return
        if official is not None:
            z_MD = self.directions("official pairs", official.table)
            verified = protocols.official_verification(official, z_MD, self.seed, self.stages)
            self.keep(f"verification_{official.name}", verified)

    def keep(self, name: str, verified: protocols.Verified) -> None:
        """The figures and the curve."""
        self.evaluation.protocols[name] = verified.protocol
        self.evaluation.curves[verified.protocol.title] = verified.curve

    def classify_official_runs(self) -> None:
        """Classify the one-shot runs that the set's protocol defines, if it defines some."""
        try:
            runs = self.images.one_shot
        except UserError as error:
            self.evaluation.left_out["one_shot_official"] = str(error)
            return
        if runs is not None:
            z_MD = self.directions("one-shot runs", runs.table)
            self.evaluation.protocols[f"one_shot_{runs.name}"] = protocols.official_one_shot(runs, z_MD, self.seed)

    def classify_at_random(self, number: int) -> None:
        """Episodes of every kind for which there are images enough."""
        size_C = self.labels_N.bincount()
        for ways, shots in EPISODES:
            name = f"episodes_{ways}way_{shots}shot"
            enough = int((size_C >= shots + QUERIES).sum())
            if enough < ways:
                self.evaluation.left_out[name] = (
                    f"It needs {ways} classes of {shots + QUERIES} images, but {enough} have as many."
                )
                continue
            with self.stages.running(f"Episodes, {ways}-way {shots}-shot"):
                self.evaluation.protocols[name] = protocols.random_episodes(
                    self.z_ND, self.labels_N, ways, shots, QUERIES, number, self.seed
                )

    def cluster(self) -> None:
        """k-means."""
        with self.stages.running("Clustering"):
            self.evaluation.protocols["clustering"] = protocols.clusters(self.z_ND, self.labels_N, self.seed)

    def look_at_health(self) -> None:
        """Whether the embedding has collapsed."""
        with self.stages.running("Embedding health"):
            self.evaluation.protocols["embedding"] = protocols.embedding_health(self.z_ND, self.labels_N)
