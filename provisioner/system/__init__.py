"""The only door to processes and to a host's files."""
