"""The story: what a deployment is, told without naming any program that takes part in it."""
