"""Many runs at once: which are missing, in which order, as processes of this machine or as SLURM jobs."""
