"""What is built on pretraining: a method, a target or a schedule over a modality."""
