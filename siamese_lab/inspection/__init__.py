"""Inspect what strategies select from one batch: which negatives, and at which distances.

The strategies themselves are in `siamese_lab.samplers`. What a training selects is logged by the callbacks in
`siamese_lab.training.callbacks`.
"""

from siamese_lab.inspection.chosen_distances import chosen_distances, density, draw_chosen
from siamese_lab.inspection.picks import Picks, informative_pair, pick
from siamese_lab.inspection.picks_picture import draw_picks

__all__ = ["Picks", "chosen_distances", "density", "draw_chosen", "draw_picks", "informative_pair", "pick"]
