"""What was built elsewhere: tar and zip files, and directories."""
