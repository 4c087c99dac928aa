"""The backend store and the artifact store, as MLflow uses them here."""
