"""A plan that is changed while it runs: what may be asked, what follows, and what it affects."""
