"""What comes in: `open_stack(path) -> Stack`."""
