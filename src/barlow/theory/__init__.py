"""Closed forms and estimators: numbers in, numbers out; nothing here trains."""
