"""Workers: what turns a bundle into a command, and evidence into an outcome. `registry` finds them."""
