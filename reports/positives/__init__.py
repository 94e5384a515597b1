"""Which objects get how many positives, and what that says of the paper: counted and drawn."""
