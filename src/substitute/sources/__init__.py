"""What brings a commit into a slot."""
