"""Measurements and faults: ours beside LiveKit's own WarmTransferTask, on the same lab."""

import lab as lab  # before numpy: it says how many threads that may have
