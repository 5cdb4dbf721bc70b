"""Pictures, drawings, pages."""
