"""What an agent is told: its task, and all around it that it has to know."""
