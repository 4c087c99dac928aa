"""Our server beside `mlflow server`, measured in one run on the same PostgreSQL and S3 server."""
