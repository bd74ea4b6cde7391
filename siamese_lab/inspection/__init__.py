"""What strategies select from one and the same batch, to be looked at."""

from siamese_lab.inspection.chosen_distances import chosen_distances, density, draw_chosen
from siamese_lab.inspection.picks import Picks, pick, telling_pair
from siamese_lab.inspection.picks_picture import draw_picks

__all__ = ["Picks", "chosen_distances", "density", "draw_chosen", "draw_picks", "pick", "telling_pair"]
