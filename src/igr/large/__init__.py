"""Clouds larger than memory: read in chunks, sorted into blocks on disk, fitted block by block."""
