"""What is remembered: append-only, hash-chained facts of every run."""
