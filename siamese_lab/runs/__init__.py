"""The record of a run on disk: results, options, checkpoints, environment, and how they are displayed.

Nothing here trains or evaluates; every package that writes results uses this one.
"""
