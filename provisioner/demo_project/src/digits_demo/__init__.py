"""A Kedro project that learns to read digits."""
