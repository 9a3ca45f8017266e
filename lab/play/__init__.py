"""Plays a scenario as people would live it, listens to the sound at each phone, and judges."""
