"""Captures of a real light stage: the folder that a studio hands over, and samples made of it."""
