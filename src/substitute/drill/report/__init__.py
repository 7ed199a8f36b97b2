"""The result for people: lines, pictures, one page."""
