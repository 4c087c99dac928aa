"""The server's processes, and what stands around MLflow's applications."""
