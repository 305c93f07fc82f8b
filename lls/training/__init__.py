"""Training of one run: the loop, its step, evaluation, checkpoints, and the files of a finished run."""
