"""Whether an output is what was written, and its repair."""
