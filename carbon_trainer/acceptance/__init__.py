"""Acceptance: do the promises on GPUs hold on this one? ``carbon-train doctor --acceptance``.

Parts measure, each in a process of its own (``worker``) and one after the other (``check``); what
they find is one JSON document and a page. ``Accelerator`` is the GPU that they put under load.
"""
