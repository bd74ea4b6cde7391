"""Convert a single image of any size and mode to the form of a data set: photographs and drawings.

Reading files lives in `data.io`, and random changes of batches live in `data.augment`.
"""
