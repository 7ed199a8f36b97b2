"""What is done with a candidate's files before anything of it starts: shared files, secrets, build, release."""
