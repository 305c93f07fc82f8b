"""Train many runs: find the missing ones, teachers first, and start them as local processes or as SLURM jobs."""
