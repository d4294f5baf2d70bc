"""Failures as one clear sentence with a hint, and the exit codes.

0 done · 1 error · 2 ``plan`` found changes · 64 wrong usage · 130 Ctrl-C · 141 the reader of a pipe went away ·
``exec`` ends with the exit code of its command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from newbon_core.cli.text import harmless

EXIT_ERROR = 1
EXIT_CHANGES = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class CliError(Exception):
    """A sentence about what did not work, and what to do about it. ``details`` are further lines, one problem each."""

    def __init__(
        self, message: str, hint: str | None = None, details: Sequence[str] = (), code: int = EXIT_ERROR
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.details = tuple(details)
        self.code = code


class Finished(Exception):
    """Ends a command with an exit code after everything has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def show(error: CliError) -> None:
    """Print it on standard error."""
    label = click.style("error:", fg="red", bold=True)
    _say(f"{label} {harmless(error)}")
    for line in error.details:
        _say(f"  {harmless(line)}")
    if error.hint:
        _say(f"{click.style('hint:', fg='cyan')} {harmless(error.hint)}")


def show_usage(error: click.UsageError) -> None:
    """Print wrong usage: what is wrong, and where help is."""
    label = click.style("error:", fg="red", bold=True)
    _say(f"{label} {harmless(error.format_message())}")
    command = error.ctx.command_path if error.ctx else "newbon"
    _say(f"{click.style('hint:', fg='cyan')} {command} --help")


def _say(text: str) -> None:
    from newbon_core.cli.session import colour_wanted

    click.echo(text, err=True, color=colour_wanted(2))


def as_cli_error(error: BaseException, server: Callable[[], str]) -> CliError | None:
    """What the exceptions of the rooms below mean to a user; None for one that is a defect of Newbon."""
    from newbon_core import client

    if isinstance(error, CliError):
        return error
    if isinstance(error, client.ServerUnreachable):
        return CliError(
            str(error),
            "start one on this machine with 'newbon up', or name another with --server or NEWBON_SERVER "
            f"(now {server()})",
        )
    if isinstance(error, client.ApiProblem):
        return _api_problem(error.status, error.title, error.detail or "", problem_lines(error.problems))
    if isinstance(error, OSError) and error.filename:
        return CliError(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError):
        return CliError(str(error))
    if type(error).__name__ == "SiteError":
        return CliError(str(error))
    return None


def _api_problem(status: int, title: str, detail: str, problems: Sequence[str]) -> CliError:
    hint = None
    if status == 401:
        hint = "give a token by --token-file, --token or NEWBON_TOKEN; an admin makes one with 'newbon token create'"
    elif status == 403:
        hint = "this needs a token of another role; an admin makes one with 'newbon token create --role admin'"
    elif status == 412:
        hint = "it was changed by somebody else meanwhile; try again"
    message = f"{title}: {detail}" if detail and title and detail != title else detail or title
    return CliError(message or f"the server answered {status}", hint, problems)


def problem_lines(problems: Sequence[object]) -> list[str]:
    """One line for each thing wrong in a document: where it is, what is expected, what was probably meant."""
    return [_problem_line(problem) for problem in problems]


def _problem_line(problem: object) -> str:
    def part(name: str) -> object:
        return problem.get(name) if isinstance(problem, dict) else getattr(problem, name, None)

    source, line = str(part("source") or ""), part("line")
    where = [f"{source}:{line}" if source and isinstance(line, int) else source]
    index = part("document") if part("document") is not None else part("index")
    if isinstance(index, int):
        called = " ".join(str(word) for word in (part("kind"), part("name")) if word)
        where.append(f"document {index + 1}" + (f" ({called})" if called else ""))
    where += [str(part("path") or ""), "" if part("value") is None else str(part("value"))]
    message = str(part("message") or "is wrong")
    nearest = part("nearest")
    if nearest and str(nearest) not in message:
        message = f"{message}; did you mean {nearest}?"
    return ": ".join([*(piece for piece in where if piece), message])
