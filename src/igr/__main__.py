"""`python -m igr`: the command line."""

from .cli import run

run()
