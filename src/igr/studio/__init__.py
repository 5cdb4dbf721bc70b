"""Pages in the browser: a surface, a shape space, a scan on its way to its surface."""
