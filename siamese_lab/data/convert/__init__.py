"""Convert an image of any size and mode to the pixels that a network expects."""
