"""Clouds larger than memory: blocks on disk, a field for each, one surface of all of them."""
