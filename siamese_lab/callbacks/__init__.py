"""What watches over training: progress and its record, best and last weights, interruption, non-finite losses."""

from siamese_lab.callbacks.best_checkpoint import BestCheckpoint
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
