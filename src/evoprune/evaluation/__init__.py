"""Evaluation: from a genome to its score. Start reading at `channels.py`."""
