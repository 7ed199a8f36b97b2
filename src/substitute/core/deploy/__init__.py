"""The story: a deployment, `settle`, and what they are made of."""
