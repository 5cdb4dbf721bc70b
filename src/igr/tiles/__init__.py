"""A cloud in many files, or larger than memory: read in chunks, sorted once into blocks on disk."""
