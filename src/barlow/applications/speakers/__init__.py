"""Speakers: told apart, and recognised in noise."""
