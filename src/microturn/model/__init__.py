"""The interaction model. Knows tensors; knows nothing of sockets, sessions or files other than checkpoints."""
