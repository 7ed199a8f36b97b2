"""Hand-written stand-ins for the world, a module for each port, with a clock that does not wait."""
