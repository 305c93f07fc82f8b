"""Errors that are shown to the user in one line, and how a script ends."""

import os
import select
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right. The message is one line: what is wrong, and what to do."""

    status = 2


class Diverged(UserError):
    """A run whose numbers are no longer finite."""

    status = 1


def one_line(error: Exception, limit: int | None = None) -> str:
    """An error's message without its line breaks, at most `limit` characters; the name of its type if it has none."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def run_script(main: Callable[[], int | None], stopped: str = "stopped") -> None:
    """Run the main function of a script, and exit with the status that it returns.

    A UserError is printed in one line, and its status is the script's. Ctrl-C prints `stopped` and exits with 130.
    Where nobody reads the output any more, as after `| head`, the script ends quietly."""
    try:
        status = main() or 0
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except BrokenPipeError:
        if _has_reader():
            raise  # it was another pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        status = 130
    sys.exit(status)


def _has_reader() -> bool:
    """Whether what is printed still goes to a file, a terminal or a pipe that somebody reads."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))
