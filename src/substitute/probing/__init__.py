"""An instance seen from outside: who listens, what it answers, how it stops."""
