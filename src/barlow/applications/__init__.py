"""Applications: a method, a target or a schedule over a modality, each in a folder of its own."""
