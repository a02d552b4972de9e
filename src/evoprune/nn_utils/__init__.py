"""What every part that deals with networks needs, and what knows nothing of pruning."""
