"""What would happen to a request, and why: the engine's evaluator asked about what an engine serves, or would serve."""
