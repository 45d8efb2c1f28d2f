"""The only package that knows Qt: the window, its panels and the piano roll."""

import os

# Before numpy is loaded: our products are small, and a second thread costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
