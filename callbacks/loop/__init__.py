"""Recorder for a training loop of any kind."""
