"""Ways to score a well, measured side by side: the paper's, and this project's."""
