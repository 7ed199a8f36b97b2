"""A root put together: its configuration, its journal, and the adapters that it names."""
