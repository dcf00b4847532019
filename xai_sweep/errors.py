"""The one error a person is meant to read: one line with key, value and what is allowed."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    Args:
        key: the configuration key as it is typed on the command line, e.g. ``transform.angle``.
        value: what was given.
        allowed: what would be accepted, and where useful why this was not; one line.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={value}: {allowed}")
