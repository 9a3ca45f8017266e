"""The receptionist on the telephone, and the worker that runs it: of the front desk, all that knows LiveKit."""
