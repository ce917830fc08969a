"""A PLAN.md to a plan, and its boxes and context files kept up to date."""
