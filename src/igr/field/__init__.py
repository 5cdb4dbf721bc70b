"""f(x) and its gradient, and back: the native core and torch."""
