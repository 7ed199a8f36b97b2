"""Many hosts, each a whole root of its own: `substitute … --json` is run on each over ssh.

Nothing here knows how an app is deployed, and nothing is kept: what is where, the hosts are asked.
"""
