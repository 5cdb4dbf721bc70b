"""Settings of the whole suite."""

import os

# Torch's threads spin at every small operation, which costs more than they gain on the suite's small arrays.
os.environ.setdefault("OMP_NUM_THREADS", "1")
