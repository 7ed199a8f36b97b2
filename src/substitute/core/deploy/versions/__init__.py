"""The versions before: what a rollback goes to, what is kept of them, and where their files are pointed to."""
