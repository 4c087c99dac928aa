"""One stack on one host: its directory, secrets, checks and changes."""
