"""Backbones by name and the one MLP."""
