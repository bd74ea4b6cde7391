"""Fast ways to find the choice that a strategy's score defines, each held to the score by a test."""
