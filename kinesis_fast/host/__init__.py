"""The shared library that Fluent Bit loads, and the Python functions that the library calls."""
