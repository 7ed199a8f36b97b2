"""See it work: a tiny app, a load client that hides nothing, and the story of two deployments."""
