"""Real programs and throw-away machines for the tests that need them."""
