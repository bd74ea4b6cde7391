"""One training run: the Lightning module, the trainer, schedules, callbacks, the processes that train, and `fit`.

Selection strategies, losses, networks and data sets live in packages of their own.
"""
