"""What runs once: made ready before the server, and questions from outside."""
