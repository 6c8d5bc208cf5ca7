"""Programs at the desk: registering people, rosters, who came, and moving somebody to another program."""
