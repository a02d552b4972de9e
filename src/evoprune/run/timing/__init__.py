"""How long finished networks take, and why they take as long as before where they do."""
