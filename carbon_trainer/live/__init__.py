"""A run's live figures, for Prometheus; nothing of it runs unless it is switched on."""
