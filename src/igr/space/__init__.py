"""Shape spaces: many shapes as one network (torch)."""
