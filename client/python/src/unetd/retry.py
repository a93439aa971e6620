"""When a failed call is made again."""

from __future__ import annotations

import dataclasses
import random
from typing import Optional

from unetd.errors import ResourceExhausted, Unavailable, UnetdError


@dataclasses.dataclass(frozen=True)
class Retry:
    """Calls that change nothing on the server (a forward pass, a step, a description) are made again when the server
    cannot be reached or says that its queue is full; everything else is raised at once. `Retry(attempts=1)`: never.

    Between two attempts lies what the server asked for, and a random time on top, up to `first_delay` seconds at first,
    twice as much each time, never more than `longest_delay`.
    """

    attempts: int = 5
    first_delay: float = 0.2
    longest_delay: float = 5.0

    def delay(self, failed: int, error: UnetdError) -> Optional[float]:
        """Seconds to wait after `failed` attempts, or None: raise the error."""
        full = isinstance(error, ResourceExhausted) and error.retry_after is not None
        if failed >= self.attempts or not (full or isinstance(error, Unavailable)):
            return None
        spread = min(self.longest_delay, self.first_delay * 2 ** (failed - 1))
        return (error.retry_after or 0.0) + random.uniform(spread / 2, spread)
