"""What a user does beside deploying: bring a root up and down, start and stop by hand, adopt, look."""
