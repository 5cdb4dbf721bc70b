"""Folders of many scans: names, splits, samples, batches."""
