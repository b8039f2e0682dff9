"""What is trained: transformers' causal language models and named recipes."""
