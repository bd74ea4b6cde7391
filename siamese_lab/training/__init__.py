"""One training run: the Lightning module, the trainer, schedules, callbacks, and the processes that train.

Selection strategies, losses, networks and data sets live in packages of their own.
"""
