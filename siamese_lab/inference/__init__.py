"""Use a trained network: embed images of any kind, compare and search them, and export the network to other formats.

The functions behind `siamese_lab.load` and the commands `embed`, `verify`, `search` and `export` are here. Metrics and
intervals on a test split are in `siamese_lab.evaluation`.
"""

BATCH = 256
"""The number of images that are decoded and embedded at a time, unless a caller chooses another one."""
