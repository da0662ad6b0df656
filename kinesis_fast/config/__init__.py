"""The options of an output: their names, values and checks."""

from kinesis_fast.config.options import OPTIONS, OutputConfig, option_names

__all__ = ["OPTIONS", "OutputConfig", "option_names"]
