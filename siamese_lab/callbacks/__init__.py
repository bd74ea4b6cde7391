"""What watches over training: progress and its record, best and last weights, interruption, non-finite losses.

And what TensorBoard shows beside curves: distances, the hardest triplets, choices to compare, the embedding.
"""

from siamese_lab.callbacks.best_checkpoint import BestCheckpoint
from siamese_lab.callbacks.comparable_choices import ComparableChoices
from siamese_lab.callbacks.distance_histograms import DistanceHistograms
from siamese_lab.callbacks.embedding_projector import EmbeddingProjector
from siamese_lab.callbacks.forget_later_events import ForgetLaterEvents
from siamese_lab.callbacks.hardest_triplets import HardestTriplets
from siamese_lab.callbacks.history import History
from siamese_lab.callbacks.last_checkpoint import LastCheckpoint
from siamese_lab.callbacks.non_finite import StopOnNonFinite
from siamese_lab.callbacks.progress import Progress
from siamese_lab.callbacks.signals import Interrupted, StopOnSignal
from siamese_lab.callbacks.stored_choices import StoredChoices
from siamese_lab.callbacks.training_clock import TrainingClock
from siamese_lab.callbacks.weight_average import WeightAverage

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
