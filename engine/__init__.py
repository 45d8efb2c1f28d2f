"""Headless: the document, exchange with the world, the engine thread, the MIDI process, the command line."""

import os

# Before numpy is loaded: our products are small, and a second thread costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
