"""Errors that the user sees as one line, and how a script ends."""

import os
import select
import sys
from collections.abc import Callable


class UserError(Exception):
    """An error that the user can correct. The message is one line: what is wrong, then what to do.

    status: the exit status of the script."""

    status = 2


class Diverged(UserError):
    """A number of a run is not finite any more."""

    status = 1


def one_line(error: Exception, limit: int | None = None) -> str:
    """Return the message of an error without line breaks, cut to `limit` characters; its type's name if it is empty."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def run_script(main: Callable[[], int | None], stopped: str = "stopped") -> None:
    """Run the main function of a script and exit with the status that it returns; None is status 0.

    - A UserError is printed as one line, and its `status` is the exit status.
    - Ctrl-C prints `stopped`; the exit status is 130.
    - If the reader of the output has closed the pipe, as `| head` does, the script ends without an error."""
    try:
        status = main() or 0
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except BrokenPipeError:
        if _has_reader():
            raise  # another pipe broke
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        status = 130
    sys.exit(status)


def _has_reader() -> bool:
    """Return whether stdout is a file, a terminal, or a pipe whose reader is still open."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))
