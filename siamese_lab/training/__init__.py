"""One training run: the Lightning module and trainer, optimizers, schedules, callbacks and processes.

Selection strategies, losses, networks and data sets live in packages of their own.
"""
