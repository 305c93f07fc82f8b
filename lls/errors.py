"""Errors that are told to the user in one line."""


class UserError(Exception):
    """Something the user can put right. The message is one line: what is wrong, and what to do."""

    status = 2


class Diverged(UserError):
    """A run whose numbers are no longer finite."""

    status = 1


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
