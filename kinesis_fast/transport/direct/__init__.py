"""The direct way of sending: our own requests over kept connections."""
