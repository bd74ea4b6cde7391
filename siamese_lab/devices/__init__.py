"""The devices of a run: random generators on a device, and processes that train together.

It holds no placement of a run on devices, which is in `siamese_lab.training.placement`.
"""
