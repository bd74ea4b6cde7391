"""Which data sets can be used here and now, without a download: for notebooks, and for whoever is offline."""

from siamese_lab import data
from siamese_lab.config.schema import compose


def available_locally(*names: str) -> tuple[str, ...]:
    """Those of the sets of which there is a copy, in the order asked for; nothing is read or downloaded.

    Copies are looked for where `python -m siamese_lab.train data=NAME` looks: in the folder that the environment
    variable SIAMESE_LAB_DATA names, and among what was downloaded before.

    Raises:
        UserError: if the user's folder is not there.
        HydraException: for a set that is not known.
    """
    return tuple(name for name in names if not data.build(**compose(f"data={name}").data, seed=0).absent())
