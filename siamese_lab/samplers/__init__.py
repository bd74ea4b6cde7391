"""Sample-selection strategies: the one thing the study varies."""

from siamese_lab.samplers.base import Candidates, Sampler, available, build, register, registry

registry.discover(__name__, __path__)
__all__ = ["Candidates", "Sampler", "available", "build", "register"]
