"""Surfaces from masked photographs with known cameras."""
