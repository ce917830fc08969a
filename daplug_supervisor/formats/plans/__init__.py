"""Plan files of our own, YAML and JSON: read with line and column, checked against the structs of the plan."""
