"""The receptionist on the telephone, and the worker that runs it: the only floor that knows LiveKit."""
