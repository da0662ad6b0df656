"""Send events to a stream: python send_events.py REGION STREAM [ENDPOINT]"""

import sys
import time

import msgpack

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig

region, stream, *endpoint = sys.argv[1:]
options = {"region": region, "stream": stream, "partition_key": "user", "append_newline": "true"}
config = OutputConfig.from_options(options | ({"endpoint": endpoint[0]} if endpoint else {}))
events = ([time.time(), {"user": f"user-{n % 7}", "n": n}] for n in range(1000))
chunk = b"".join(map(msgpack.packb, events))  # as Fluent Bit passes them
with KinesisOutput(config) as output:
    while output.flush(chunk, tag="example") is FlushResult.RETRY:
        time.sleep(1)  # the log says why; what has arrived is not sent again
    print(output.stats()["delivered"], "records delivered")
