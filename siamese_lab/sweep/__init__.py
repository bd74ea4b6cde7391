"""Many runs by one command, which may be stopped at any moment and given again: it then does what is left."""

from siamese_lab.sweep.job import run

__all__ = ["run"]
