"""The words that statements about a run may use. Imports nothing: commands offer them."""

OPERATIONS = ("own", "cloud", "colocation")
"""Whose machines a run was on; RunConfig's ``operation`` has the same."""

INSTRUMENTS = ("guarantee of origin", "REC", "PPA", "supplier contract", "residual mix")
"""Contractual instruments for a run's electricity."""
