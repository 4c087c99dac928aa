"""What a server over SSH needs before a stack can be there."""
