"""Images: what differs from other modalities, and nothing else."""
