"""What outlives a command: the journal, the lock, the log of each deployment."""
