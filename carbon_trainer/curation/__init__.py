"""Prepares text to train on: leaves out what must not be in it, and says what is."""
