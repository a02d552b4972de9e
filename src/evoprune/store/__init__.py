"""What a run directory holds, and how it is written and read; knows neither configuration nor search."""
