"""Rounds: annotation rounds and staged active learning for medical CT."""

__version__ = "0.1.0"
