"""Sources: data sets that can be read again and again, in an order that only the seed decides."""
