"""A local Kinesis, for the demo, `send --local` and the tests."""
