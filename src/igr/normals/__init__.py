"""Which side is outside, and how sure that is."""
