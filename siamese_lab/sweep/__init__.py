"""Sweeps: many runs by one command, which can be stopped at any time and repeated to do the remaining work.

The training of one run is in `siamese_lab.training`.
"""
