"""git, as the user has it."""
