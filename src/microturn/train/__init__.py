"""Banks of speech, the training loop, checkpoints in the making. Needs the `train` extra."""
