"""`python -m igr`: the command line."""

from .cli.main import run

run()
