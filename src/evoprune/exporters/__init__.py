"""Finished networks in other forms."""
