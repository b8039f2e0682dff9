"""Reports: pure functions of the ledger, for people, auditors and machines."""

if __name__ != "carbon_trainer.reports":
    # It would be a second copy, whose classes are not those that the package knows.
    raise ImportError(f"import carbon_trainer.reports: {__name__!r} is only its folder's name")
