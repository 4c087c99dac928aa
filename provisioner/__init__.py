"""A complete MLflow tracking stack with one command, and Kedro projects that use it."""

__version__ = "0.1.0"
