"""Measurements and faults: ours beside LiveKit's own WarmTransferTask, on the same lab."""

import lab as lab  # before numpy: it limits numpy's threads
