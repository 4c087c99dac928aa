"""One file per verb or family of verbs: what a command does, free of argv and of printing."""
