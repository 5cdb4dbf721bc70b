"""The command line: options, messages, exit status; no algorithm."""
