"""substitute beside what people would use instead: the same app, the same load, in one run."""
