"""What a training would take, before it starts. Knows neither torch nor Lightning."""
