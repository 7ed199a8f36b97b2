"""Files that are there whole or not at all, logs that are read and rotated, the clock."""
