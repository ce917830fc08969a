"""Files and checkouts that attempts work in."""
