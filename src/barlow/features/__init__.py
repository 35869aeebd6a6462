"""What people do with features: find what is alike, what is there twice, what fits nowhere, what belongs together."""
