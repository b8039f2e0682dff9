"""Processes and machines of a run: who meters what, how they decide together; knows no run."""
