"""One chunk's way from its first request until every record is settled."""
