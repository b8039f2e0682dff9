"""One step of a ledger's schema each."""
