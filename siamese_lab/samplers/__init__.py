"""The sample-selection strategies, one file each, and their base class.

`kernels` holds fast implementations. Losses and data loading (P×K batches) are in other packages.
"""

from siamese_lab.samplers.base import Candidates, Sampler, available, build, register, registry

registry.discover(__name__, __path__)
__all__ = ["Candidates", "Sampler", "available", "build", "register"]
