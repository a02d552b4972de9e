"""Channels: which may go by which genome, cutting them out, and the proof that a cut is right."""
