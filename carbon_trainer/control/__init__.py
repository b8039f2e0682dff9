"""What a run does next: budget, plan, power, pauses, failures; the same for every framework."""
