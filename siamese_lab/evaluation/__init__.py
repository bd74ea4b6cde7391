"""From a trained network to everything that is reported of it: figures with intervals, and pictures."""

from siamese_lab.evaluation.evaluation import Evaluation, Figure, Protocol
from siamese_lab.evaluation.evaluator import evaluate
from siamese_lab.evaluation.trained import Trained, load

__all__ = ["Evaluation", "Figure", "Protocol", "Trained", "evaluate", "load"]
