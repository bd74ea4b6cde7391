"""Loggers of a run: one or several, on this machine or on a server, with one interface for pictures and histograms."""

from siamese_lab.training.trackers.building import build_loggers
from siamese_lab.training.trackers.pictures import Histogram, PictureLogger, picture_loggers
from siamese_lab.training.trackers.remote import RemoteLogger, Tracked, TrackerRun, run_name, tracking

__all__ = [
    "Histogram",
    "PictureLogger",
    "RemoteLogger",
    "Tracked",
    "TrackerRun",
    "build_loggers",
    "picture_loggers",
    "run_name",
    "tracking",
]
