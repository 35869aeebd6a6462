"""Backbones by name, from files of any project, and in folders of their own."""
