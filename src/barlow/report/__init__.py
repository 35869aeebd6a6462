"""From a run folder to one HTML page; no torch."""
