"""The small process that settles what a killed deployer left."""
