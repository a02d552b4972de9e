"""Search: which genomes to try next. numpy only; costs and encodings reach it as plain values."""
