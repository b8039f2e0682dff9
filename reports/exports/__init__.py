"""A report in the forms that others ask for: each from the same figures, by stated conversions."""
