"""The figures of one run, each with unit, method, uncertainty and derivation."""
