"""A method, a target or a schedule over a modality."""
