"""Self-supervised pretraining that shows why it works."""
