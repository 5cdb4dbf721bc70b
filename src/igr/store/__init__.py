"""Bytes on the disk: whole files or none, arrays, runs."""
