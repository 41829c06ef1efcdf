"""What went wrong, as one class, with a code to decide by and a message that says what to do."""

from __future__ import annotations


class GatewayError(Exception):
    """An error of the gateway (its own ``code``) or of this client (``BAD_FRAME``, ``TOKEN_PROVIDER``, ``CALLBACK``, ``CLOSED``).

    ``data`` is what the gateway added, such as the symbols that are forbidden; or the exception that caused this one.
    """

    def __init__(self, code: str, message: str, data: object = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data
