"""What logs cost on their way into a stream, measured on a sample, for each way to pack them."""
