"""Multiview surface reconstruction by implicit differentiable rendering (IDR), with the fields of this package."""
