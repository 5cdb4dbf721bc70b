"""What files hold of a cloud or a mesh: one file a format, each to a `Table`."""
