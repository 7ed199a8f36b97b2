"""The drill: load on the front door, an operation in its middle, and every request accounted for."""
