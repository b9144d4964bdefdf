"""What FM2S is: arrays in, arrays out."""
