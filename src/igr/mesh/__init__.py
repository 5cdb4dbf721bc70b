"""The zero level set: cells, triangles or curves, files."""
