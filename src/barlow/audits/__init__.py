"""Theory applied to one backbone."""
