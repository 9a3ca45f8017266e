"""Measurements and faults: ours beside LiveKit's own WarmTransferTask, on the same lab."""
