"""What the receiver counts, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The counters and gauges of one receiver.

    No label holds anything that a peer has sent: sources that aren't served share the
    name "unknown".
    """

    def __init__(self) -> None:
        collected = CollectorRegistry()
        self.collected = collected
        self.requests = Counter(
            "churn_receive_requests",
            "Requests by source and status of the answer.",
            ["source", "status"],
            registry=collected,
        )
        self.postbacks = Counter(
            "churn_receive_postbacks",
            "Postbacks that are on the disk.",
            ["source"],
            registry=collected,
        )
        self.last_postback = Gauge(
            "churn_receive_last_postback_timestamp_seconds",
            "When the last postback of a source was written.",
            ["source"],
            registry=collected,
        )
        self.write_seconds = Histogram(
            "churn_receive_write_seconds",
            "Time from the whole request to its postback on the disk.",
            ["source"],
            buckets=SECONDS,
            registry=collected,
        )
        self.waiting_bytes = Gauge(
            "churn_receive_waiting_bytes",
            "Bytes of bodies that are not on the disk yet.",
            ["source"],
            registry=collected,
        )
        self.unpublished = Gauge(
            "churn_receive_unpublished_files",
            "Closed files that the folder or object store doesn't have yet.",
            ["source"],
            registry=collected,
        )
        self.published = Gauge(
            "churn_receive_published_files",
            "Files published since the start.",
            ["source"],
            registry=collected,
        )
        self.clock_steps = Counter(
            "churn_receive_clock_steps",
            "Times that the clock was set by more than a minute.",
            registry=collected,
        )
