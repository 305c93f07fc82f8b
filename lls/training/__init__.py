"""Training one run: the loop, its step, evaluation, checkpoint, and what a finished run leaves."""
