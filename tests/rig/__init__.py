"""What the tests stand on: engines of their own, clean-up, waiting."""
