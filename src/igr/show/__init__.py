"""Pictures, drawings, pages, viewers."""
