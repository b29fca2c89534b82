"""Captures of a real light stage: read a studio's folder and make samples from it."""
