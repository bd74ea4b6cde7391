"""Evaluate a network on a data set, with every protocol that the data set has enough images for.

Shapes: N test images, M images that are not test images, D embedding dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace

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
from siamese_lab.metrics import bootstrap, retrieval
from siamese_lab.networks import SiameseNetwork

EPISODES = ((20, 1), (20, 5), (5, 1), (5, 5))
"""Pairs of (ways, shots). The first pair is also the form of the official Omniglot runs (Lake et al. 2015)."""
QUERIES = 15
"""Number of images of each class that an episode classifies."""


def evaluate(
    network: SiameseNetwork,
    datamodule: DataModule,
    *,
    distance: retrieval.Distance = "cosine",
    k: Sequence[int] | None = None,
    trained_k: Sequence[int] | None = None,
    index: retrieval.Index = "exact",
    pairs: int = 20_000,
    episodes: int = 1000,
    seed: int = 0,
    fabric: Fabric | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Compute all metrics that the data set allows, on its test images.

    Args:
        network: the network. Only its device changes: it is moved to the device of `fabric`.
        datamodule: the data set. The test images are used for retrieval, verification, classification and clustering.
            The validation images are used to choose the threshold for sampled pairs.
        distance: distance of retrieval. "cosine" compares unit vectors, "euclidean" compares the raw embeddings.
        k: values of K for Recall@K. None takes `trained_k`, without those that exceed the number of images to find.
        trained_k: the K's of the training; None is `retrieval.KS`, and `retrieval.ROLE_KS` with queries and a gallery.
        index: "exact", or "faiss" for approximate nearest neighbors.
        pairs: number of pairs to sample for verification, or fewer if the data set has fewer. 0 skips this protocol.
        episodes: number of episodes of each kind. 0 skips these protocols.
        seed: seed of all random draws.
        fabric: the device and the precision. The default is the CPU in float32.
        console: console that shows progress. None shows no progress.

    Raises:
        UserError: if an option is out of range, no class has two images, or an embedding is not finite.
    """
    check_counts(pairs, episodes)
    check_classes(datamodule.splits.test)
    run = _EvaluationRun(network, datamodule, fabric or Fabric(accelerator="cpu", devices=1), Stages(console), seed)
    run.retrieve(distance, run.default_ks(trained_k) if k is None else k, index)
    if pairs:
        run.verify_sampled_pairs(pairs)
    run.verify_official_pairs()
    run.classify_official_runs()
    if episodes:
        run.classify_random_episodes(episodes)
    run.cluster()
    run.measure_health()
    run.explain_missing_intervals()
    return run.evaluation


def check_counts(pairs: int, episodes: int) -> None:
    """Raise UserError if the number of pairs or of episodes is out of range."""
    if pairs < 0 or pairs % 2:
        raise UserError(
            f"pairs must be an even number of at least 0, but is {pairs}. Half of the pairs have one class and half "
            "have two classes."
        )
    if episodes < 0 or episodes == 1:
        raise UserError(
            f"episodes must be 0 (no episodes) or at least 2, but is {episodes}. A single episode has no interval."
        )


def check_classes(table: BaseTable) -> None:
    """Raise UserError, before anything is embedded, if the classes of the test images allow no evaluation."""
    retrieval.check_labels(table.labels_N)
    if len(classes := table.labels_N.unique()) < 2:
        raise UserError(
            f"All {len(table):,} test images have the same class, {table.class_names[int(classes[0])]!r}, but an "
            "evaluation needs at least 2 classes. Evaluate on another data set, or on a test split with more classes."
        )


class _EvaluationRun:
    """Runs the protocols of one evaluation, one method per protocol, and collects their results."""

    def __init__(
        self, network: SiameseNetwork, datamodule: DataModule, fabric: Fabric, stages: Stages, seed: int
    ) -> None:
        self.network, self.datamodule, self.fabric, self.stages, self.seed = network, datamodule, fabric, stages, seed
        network.to(fabric.device)
        self.table = datamodule.splits.test
        self.raw_ND = self.raw_embeddings("test images", self.table)
        self.z_ND = network.unit_vectors(self.raw_ND)
        self.labels_N = self.table.labels_N.to(fabric.device)
        self.roles = None if datamodule.query_gallery is None else datamodule.query_gallery.test
        self.evaluation = Evaluation(self.table, self.z_ND, self.roles, seconds=stages.seconds)

    def raw_embeddings(self, name: str, table: BaseTable) -> Tensor:
        """Return the network's embeddings of a table, of any norm."""
        with self.stages.running(f"Embedding {name}", len(table)) as advance:
            return embed(self.network, table, self.fabric, self.datamodule.eval_batch_size, advance)

    def unit_vectors(self, name: str, table: BaseTable) -> Tensor:
        """Return the network's embeddings of a table, scaled to unit norm."""
        return self.network.unit_vectors(self.raw_embeddings(name, table))

    def default_ks(self, trained_k: Sequence[int] | None) -> list[int]:
        """Return the K's of the training that the images to find allow, and name the others as left out."""
        roles, gallery = self.roles, self.datamodule.gallery
        default = retrieval.KS if roles is None else retrieval.ROLE_KS
        most = len(self.table) - 1 if roles is None else retrieval.most_findable(self.table.labels_N, roles)
        most = most if gallery is None else min(most, len(gallery))
        for each in trained_k or default:
            if each > most:
                self.evaluation.left_out[f"Recall@{each}"] = f"Each query has {most:,} images to find."
        return [each for each in trained_k or default if each <= most]

    def retrieve(self, distance: retrieval.Distance, k: Sequence[int], index: retrieval.Index) -> None:
        """Evaluate retrieval over all queries, and the retrieval results of each class."""
        compared_ND = self.raw_ND if distance == "euclidean" else self.z_ND
        roles = self.roles
        with self.stages.running("Retrieval"):
            found = within = retrieval.retrieve(
                compared_ND, self.labels_N, k, distance=distance, index=index, roles=roles
            )
        gallery = self.datamodule.gallery
        if gallery is not None:
            raw_MD = self.raw_embeddings("gallery", gallery)
            with self.stages.running("Retrieval, gallery"):
                found = retrieval.retrieve(
                    compared_ND,
                    self.labels_N,
                    k,
                    gallery_z_MD=raw_MD if distance == "euclidean" else self.network.unit_vectors(raw_MD),
                    gallery_labels_M=gallery.labels_N.to(self.fabric.device),
                    distance=distance,
                    index=index,
                )
        with self.stages.running("Retrieval: intervals"):
            searched = None if gallery is None else len(gallery)
            of_protocol = protocols.retrieval(found, self.labels_N, distance, self.seed, searched, roles)
            self.evaluation.protocols["retrieval"] = of_protocol
            if gallery is not None:
                among_test = protocols.retrieval(within, self.labels_N, distance, self.seed)
                self.evaluation.protocols["retrieval_among_test"] = replace(among_test, title="Retrieval, among test")
        self.evaluation.classes = protocols.classes(found, self.labels_N, self.table.class_names)

    def verify_sampled_pairs(self, number: int) -> None:
        """Verify sampled pairs of test images, with a threshold that is chosen on pairs of validation images."""
        held_out = self.datamodule.splits.validation
        if not len(held_out):
            self.evaluation.left_out["verification_sampled"] = (
                "There are no validation images to choose a threshold on."
            )
            return
        decide = protocols.draw_pairs(self.z_ND, self.labels_N, number, self.seed)
        validation_z_MD = self.unit_vectors("validation images", held_out)
        choose = protocols.draw_pairs(validation_z_MD, held_out.labels_N, number, self.seed)
        name = "verification_sampled"
        if decide is None or choose is None:
            split = "test" if decide is None else "validation"
            self.evaluation.left_out[name] = (
                f"The {split} images must give pairs of one class and pairs of two classes, but one kind is missing."
            )
            return
        self.store(name, protocols.sampled_verification(choose, decide, self.seed, self.stages))

    def verify_official_pairs(self) -> None:
        """Verify the official pairs of the data set's protocol, if the data set defines them."""
        try:
            official = self.datamodule.official_pairs
        except UserError as error:
            self.evaluation.left_out["verification_official"] = str(error)
            return
        if official is not None:
            z_MD = self.unit_vectors("official pairs", official.table)
            result = protocols.official_verification(official, z_MD, self.seed, self.stages)
            self.store(f"verification_{official.name}", result)

    def store(self, name: str, result: protocols.VerificationResult) -> None:
        """Add the metric values and the ROC curve of a verification protocol to the evaluation."""
        self.evaluation.protocols[name] = result.protocol
        self.evaluation.curves[result.protocol.title] = result.curve

    def classify_official_runs(self) -> None:
        """Classify the one-shot runs of the data set's protocol, if the data set defines them."""
        try:
            runs = self.datamodule.one_shot
        except UserError as error:
            self.evaluation.left_out["one_shot_official"] = str(error)
            return
        if runs is not None:
            z_MD = self.unit_vectors("one-shot runs", runs.table)
            self.evaluation.protocols[f"one_shot_{runs.name}"] = protocols.official_one_shot(runs, z_MD, self.seed)

    def classify_random_episodes(self, number: int) -> None:
        """Classify random episodes of every (ways, shots) pair that the data set has enough images for."""
        size_C = self.labels_N.bincount()
        for ways, shots in EPISODES:
            name = f"episodes_{ways}way_{shots}shot"
            enough = int((size_C >= shots + QUERIES).sum())
            if enough < ways:
                self.evaluation.left_out[name] = (
                    f"It needs {ways} classes with at least {shots + QUERIES} images, but only {enough} have as many."
                )
                continue
            with self.stages.running(f"Episodes, {ways}-way {shots}-shot"):
                self.evaluation.protocols[name] = protocols.random_episodes(
                    self.z_ND, self.labels_N, ways, shots, QUERIES, number, self.seed
                )

    def cluster(self) -> None:
        """Cluster the test images with k-means."""
        with self.stages.running("Clustering"):
            self.evaluation.protocols["clustering"] = protocols.clusters(self.z_ND, self.labels_N, self.seed)

    def measure_health(self) -> None:
        """Measure whether the embedding has collapsed."""
        with self.stages.running("Embedding health"):
            self.evaluation.protocols["embedding"] = protocols.embedding_health(self.z_ND, self.labels_N)

    def explain_missing_intervals(self) -> None:
        """Say why there are no intervals over classes, if the test images have too few classes."""
        enough = int((self.labels_N.bincount() > 1).sum())
        if enough < bootstrap.LEAST_CLASSES:
            self.evaluation.left_out["intervals over classes"] = (
                f"The test images have {enough} classes of two images or more, and fewer than "
                f"{bootstrap.LEAST_CLASSES} give intervals that are too narrow, down to a width of zero."
            )
