"""Pure views: state to text and JSON."""
