"""What runs the services of a stack."""
