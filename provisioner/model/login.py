"""The variables from which MLflow's client takes a login.

They are in its environment, or in what kedro-mlflow exports of credentials.yml.
"""

from __future__ import annotations

USERNAME, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
LOGIN = frozenset({USERNAME, PASSWORD, TOKEN})
