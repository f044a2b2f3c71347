def shown(text: str, limit: int = 60) -> str:
    """`text` as it may stand in a message: quoted, one line, invisible characters escaped, cut to `limit`."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r} and {len(text) - limit} more characters"


class InvalidRange(ValueError):  # noqa: N818
    """The text is not a range in the syntax of its scheme."""

    code = "invalid_version_range"
    status = 422

    def __init__(self, text: str, scheme: str, reason: str) -> None:
        super().__init__(f"{shown(text)} is not a {scheme} version range: {reason}")
        self.text = text
        self.scheme = scheme
        self.reason = reason
