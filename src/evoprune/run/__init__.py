"""Run: puts the parts together, drives the search, keeps what it finds."""
