"""From what the user names to packed blocks of tokens, with a record of where they came from."""
