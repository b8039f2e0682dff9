"""What the ledger says of one run: its facts as corrected, its segments, what it was made with."""
