"""Reading a stream back as a consumer does: shards, aggregates, compressed data, KCL's rule."""
