"""One file a verb: what a command does, free of argv and of printing."""
