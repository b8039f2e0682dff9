"""How clean the electricity was: carbon intensity and where the figure comes from."""
