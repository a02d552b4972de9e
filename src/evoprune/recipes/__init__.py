"""What we ship to start from: a recipe is a function that returns a model, its Task and example inputs."""
