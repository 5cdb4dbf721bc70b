"""What a user gives: from any file to clean points in the unit frame."""
