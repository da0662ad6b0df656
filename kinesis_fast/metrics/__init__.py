"""Metrics of outputs for Prometheus, and the account as a log line; imported only when wanted."""
