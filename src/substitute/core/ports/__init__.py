"""What the core asks of the world, a protocol a file. Each states the promise that its adapters keep."""
