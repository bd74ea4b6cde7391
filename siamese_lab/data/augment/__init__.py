"""Augment whole batches on the device: random crops, affine maps, light, colors, random erasing.

Conversions of single images live in `data.convert`.
"""
