"""Data shipped with the program: weights, SoundFont, icons, demonstration scores."""
