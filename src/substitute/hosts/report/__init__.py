"""What a person sees of many hosts: tables, and lines while something happens. Programs get JSON."""
