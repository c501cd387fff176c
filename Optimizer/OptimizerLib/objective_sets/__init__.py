"""Sets of objective rows that come with the package, one JSON file a case."""
