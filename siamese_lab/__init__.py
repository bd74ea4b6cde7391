"""siamese_lab: what does the training-sample selection strategy do to a Siamese network?"""

from importlib.metadata import version

from siamese_lab.batch import Batch, Triplets

__version__ = version("siamese_lab")
__all__ = ["Batch", "Triplets", "__version__"]
