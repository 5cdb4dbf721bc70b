"""Faults on purpose: `python -m torture` tries them, and prints what survived and what was lost."""
