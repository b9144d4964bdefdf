"""Scripts for a SLURM cluster, as pure text: what to run, and how it is submitted."""
