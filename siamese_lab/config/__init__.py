"""The configuration of a command: schema, overrides, Hydra's start, messages about the command line.

Nothing here builds a network or touches data; `siamese_lab.training` does.
"""
