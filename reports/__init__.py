"""Reports: pure functions of the ledger, for people, auditors and machines."""
