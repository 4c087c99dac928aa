"""Services as containers, by Docker Compose on any host."""
