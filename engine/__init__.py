"""Headless: the document, exchange with the world, the engine thread, the MIDI process, the command line."""
