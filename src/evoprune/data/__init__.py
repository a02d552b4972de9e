"""Tasks and sources of data: batches of every form, read again in an order that the seed decides."""
