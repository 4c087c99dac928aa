"""`python -m provisioner`."""

from provisioner.cli.app import app

app()
