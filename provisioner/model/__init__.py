"""What the user wants and what it means: pure values, no files, no processes."""
