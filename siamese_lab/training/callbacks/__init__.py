"""What watches over training: progress and its record, best and last weights, interruption, non-finite losses.

And what TensorBoard shows beside curves: distances, the hardest triplets, choices to compare, the embedding.
"""

from siamese_lab.training.callbacks.best_checkpoint import BestCheckpoint
from siamese_lab.training.callbacks.comparable_choices import ComparableChoices
from siamese_lab.training.callbacks.distance_histograms import DistanceHistograms
from siamese_lab.training.callbacks.embedding_projector import EmbeddingProjector
from siamese_lab.training.callbacks.forget_later_events import ForgetLaterEvents
from siamese_lab.training.callbacks.hardest_triplets import HardestTriplets
from siamese_lab.training.callbacks.history import History
from siamese_lab.training.callbacks.last_checkpoint import LastCheckpoint
from siamese_lab.training.callbacks.non_finite import StopOnNonFinite
from siamese_lab.training.callbacks.progress import Progress
from siamese_lab.training.callbacks.signals import Interrupted, StopOnSignal
from siamese_lab.training.callbacks.stored_choices import StoredChoices
from siamese_lab.training.callbacks.training_clock import TrainingClock
from siamese_lab.training.callbacks.weight_average import WeightAverage

__all__ = [
    "BestCheckpoint",
    "ComparableChoices",
    "DistanceHistograms",
    "EmbeddingProjector",
    "ForgetLaterEvents",
    "HardestTriplets",
    "History",
    "Interrupted",
    "LastCheckpoint",
    "Progress",
    "StopOnNonFinite",
    "StopOnSignal",
    "StoredChoices",
    "TrainingClock",
    "WeightAverage",
]
