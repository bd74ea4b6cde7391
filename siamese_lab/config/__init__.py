"""The configuration of a command: its schema, overrides, the start of Hydra, and messages about the command line.

Nothing here builds a network or touches data; `siamese_lab.training` does.
"""
