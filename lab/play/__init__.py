"""Plays a scenario as people would live it, listens to what each of them heard, and judges."""
