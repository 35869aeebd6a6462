"""Backbones for log-mel spectrograms by name."""
