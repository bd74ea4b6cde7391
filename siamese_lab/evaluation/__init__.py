"""Evaluate a trained network: metric values with confidence intervals, a table, a record file and pictures.

The metrics are computed in `siamese_lab.metrics`. The data sets define their own protocols in `siamese_lab.data`.
Embedding new images, thresholds and export are in `siamese_lab.inference`.
"""

from siamese_lab.evaluation.evaluation import Evaluation, MetricValue, Protocol
from siamese_lab.evaluation.evaluator import evaluate
from siamese_lab.evaluation.trained import Trained, load

__all__ = ["Evaluation", "MetricValue", "Protocol", "Trained", "evaluate", "load"]
