"""An offline phone lab: a LiveKit-compatible server, SIP telephones and AI services, all on loopback. Development only."""

import os

# Before numpy is imported. Its matrices are small here, and the threads that it would start spin while they wait for the
# next one: measured on two cores, they burnt three times the CPU that all of the lab's own work took.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
