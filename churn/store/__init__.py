"""Everything derived from the extracts: tables by bucket, made visible atomically."""

from churn.store.batches import Store, create_or_open, open_filled
from churn.store.files import write_atomically

__all__ = ["Store", "create_or_open", "open_filled", "write_atomically"]
