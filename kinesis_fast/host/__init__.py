"""What Fluent Bit loads: the shared library beside this file, and the Python that it calls."""
