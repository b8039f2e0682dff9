"""Where a run runs: here, under torchrun, in Slurm; restarts, release and return."""
