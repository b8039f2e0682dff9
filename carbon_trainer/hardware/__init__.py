"""What this machine is, and which of its processes are whose."""
