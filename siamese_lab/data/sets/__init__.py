"""The data sets, one file each, and what only they need."""
