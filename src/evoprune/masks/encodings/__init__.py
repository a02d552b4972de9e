"""Encodings of weight masks: how a genome names the weights that stay. numpy only."""
