"""A run's figures while it goes on, for Prometheus; nothing of it runs unless it is asked for."""
