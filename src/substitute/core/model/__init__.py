"""The nouns of a deployment, as frozen values, and what may be said of them: events and errors."""
