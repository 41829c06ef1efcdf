"""What went wrong, as one class, with a code to decide by and a message that says what to do."""

from __future__ import annotations


class GatewayError(Exception):
    """An error of the gateway (its own ``code``) or of this client: ``BAD_FRAME``, ``TOKEN_PROVIDER``, ``CALLBACK``, ``CLOSED``;
    ``NOT_CONNECTED``: nothing was sent; ``CONNECTION_LOST``: what was sent may have been done; ``NO_DESK``: the gateway has no rooms.

    ``retry_after`` is the seconds after which the gateway would take it. ``data`` is what the gateway added, such as the symbols that
    are forbidden; or the exception that caused this one.
    """

    def __init__(self, code: str, message: str, data: object = None, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data
        self.retry_after = retry_after

    @property
    def is_busy(self) -> bool:
        """The same may succeed a little later."""
        return self.code in ("RATE_LIMIT_EXCEEDED", "UNAVAILABLE")
