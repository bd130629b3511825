"""Dub a video: the same picture, with the mouth speaking another audio track."""

__version__ = "0.1.0"
