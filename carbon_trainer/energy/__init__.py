"""What was used: sources, a sampler that reads them, the curve E(t), and the meter over all."""
