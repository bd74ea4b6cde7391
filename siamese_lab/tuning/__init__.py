"""Tuning with equal budgets: the same number of trials for every strategy and data set, scored on validation images.

The record tuned.json is defined in `siamese_lab.runs.tuned`; `siamese_lab.config` applies tuned options to runs.
"""
