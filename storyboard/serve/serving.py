"""What answers share: the library, its queue and events, who may come in, and how much."""

from __future__ import annotations

from dataclasses import dataclass

from storyboard.serve.access import Access
from storyboard.serve.asking import Reader
from storyboard.serve.feed import Feed
from storyboard.serve.ledger import Ledger
from storyboard.serve.limits import Limits
from storyboard.serve.metrics import Metrics
from storyboard.serve.queue import Queue
from storyboard.serve.stories import Library


@dataclass(frozen=True, slots=True)
class Serving:
    """One library being served."""

    library: Library
    ledger: Ledger
    feed: Feed
    queue: Queue
    reader: Reader
    access: Access
    metrics: Metrics
    limits: Limits
