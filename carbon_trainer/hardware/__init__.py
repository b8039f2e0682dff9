"""This machine, its processes, and data of accelerator boards."""
