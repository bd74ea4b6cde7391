"""Augment whole batches on the device."""
