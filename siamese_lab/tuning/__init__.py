"""Tuning with equal effort: for every strategy and data set as many trials, scored on validation images."""

from siamese_lab.tuning.job import run

__all__ = ["run"]
