"""Augment whole batches on the device: affine maps, brightness and contrast, random erasing.

Conversions of single images live in `data.convert`.
"""
