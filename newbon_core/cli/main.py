"""The root of the command line: which commands there are, the global options, and how a run ends."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from newbon_core.cli.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CliError,
    Finished,
    as_cli_error,
    show,
    show_usage,
)
from newbon_core.cli.session import Session

# Name, "module:object", and the line of help; listed here so that --help imports none of them.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run Newbon": {
        "up": ("up:up", "Run the server and an agent on this machine."),
        "server": ("serve:server", "Run the API server with its controllers."),
        "agent": ("serve:agent", "Run the agent of this machine for a server."),
    },
    "Services": {
        "apply": ("apply:apply", "Create or change services from documents."),
        "plan": ("plan:plan", "Show what apply would change, and where new instances would go."),
        "validate": ("validate:validate", "Check documents offline with the installed plugins."),
        "scale": ("scale:scale", "Set how many replicas services have."),
        "delete": ("delete:delete", "Delete services, instances or nodes."),
    },
    "Look": {
        "get": ("get:get", "List objects, once or live."),
        "describe": ("describe:describe", "Show everything about one object."),
        "explain": ("explain:explain", "Say why instances are where they are, or cannot be placed."),
        "events": ("events:events", "Show what happened and why."),
        "logs": ("logs:logs", "Show what instances wrote."),
        "exec": ("execute:execute", "Run a command in an instance."),
    },
    "Nodes": {
        "cordon": ("nodes:cordon", "Keep new instances off nodes."),
        "uncordon": ("nodes:uncordon", "Let new instances on nodes again."),
        "label": ("nodes:label", "Set or remove labels of a node."),
        "taint": ("nodes:taint", "Set or remove taints of a node."),
    },
    "Site": {
        "token": ("tokens:token", "Create, list and delete tokens."),
        "plugins": ("plugins:plugins", "List, show and check plugins."),
        "completion": ("completion:completion", "Print the completion script of a shell."),
        "version": ("version:version", "Show the versions of client and server."),
    },
}
ALIASES = {"tokens": "token", "plugin": "plugins", "event": "events", "log": "logs"}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Root(click.Group):
    """Loads a command when it is used, takes the global options anywhere, and turns failures into sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        entry = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, _, name = entry[0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"newbon_core.cli.{module}"), name)
        for each in walk(command):
            _accept_globals(each)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and args[0] not in ALIASES and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "see 'newbon --help'"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _own_broken_pipe():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _own_broken_pipe():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in entries.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - click's signature; the exit code always ends the process
        **extra: Any,
    ) -> NoReturn:
        code = EXIT_ERROR
        session = extra.setdefault("obj", Session())
        try:
            code = _exit_code(super().main(args, prog_name or "newbon", complete_var, standalone_mode=False, **extra))
            sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            code = EXIT_BROKEN_PIPE
        except Exception as error:  # noqa: BLE001 - the last place where a failure can become a sentence
            code = _fail(error, session)
        _leave(code)


@contextlib.contextmanager
def _own_broken_pipe() -> Iterator[None]:
    """click would end the process by itself, with 1."""
    try:
        yield
    except BrokenPipeError:
        raise Finished(EXIT_BROKEN_PIPE) from None


def _exit_code(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _fail(error: Exception, session: Session) -> int:
    if isinstance(error, Finished):
        return error.code
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return EXIT_BROKEN_PIPE
    if os.environ.get("NEWBON_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    if isinstance(error, click.ClickException) and not isinstance(error, click.UsageError):
        error = CliError(error.format_message())
    if isinstance(error, click.UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":
            click.echo(error.format_message(), err=True)
        else:
            show_usage(error)
        return EXIT_USAGE
    known = as_cli_error(error, lambda: session.url)
    if known is None:
        known = CliError(
            f"this is a defect of Newbon: {type(error).__name__}: {error}",
            "run it again with NEWBON_DEBUG=1 and report what it prints",
        )
    show(known)
    return known.code


def _leave(code: int) -> NoReturn:
    if code == EXIT_BROKEN_PIPE:
        # The interpreter flushes standard output once more at its end and would complain about the same pipe.
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, sys.stdout.fileno())
        except (OSError, ValueError):
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    sys.exit(code)


def walk(command: click.Command) -> Iterator[click.Command]:
    """The command and, for a group, all below it."""
    yield command
    if isinstance(command, click.Group) and not isinstance(command, Root):
        for child in command.commands.values():
            yield from walk(child)


def _set(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    name = str(parameter.name)
    if value is None:
        return None
    session = ctx.ensure_object(Session)
    if name in ("token", "token_file"):
        # What is written on the command line is meant, whatever the environment holds.
        from_environment = ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT
        if from_environment and (session.token or session.token_file):
            return value
        session.token = session.token_file = None
    setattr(session, name, value)
    return value


GLOBALS: dict[str, tuple[str, str, str]] = {
    "--server": ("server", "URL", "The API server (default: this machine's)."),
    "--token": ("token", "TOKEN", "The token to use; --token-file keeps it out of the process list."),
    "--token-file": ("token_file", "FILE", "A file that holds the token."),
    "--ca": ("ca", "FILE", "PEM certificates that the server's must be signed by."),
    "--config": ("config", "FILE", "The site's file, newbon.toml."),
}


def _accept_globals(command: click.Command) -> None:
    taken = {text for parameter in command.params for text in parameter.opts}
    for flag, (name, metavar, text) in GLOBALS.items():
        if flag not in taken and not isinstance(command, Root):
            command.params.append(
                click.Option([flag, name], metavar=metavar, help=text, hidden=True, expose_value=False, callback=_set)
            )


def _global_option(flag: str) -> click.Option:
    name, metavar, text = GLOBALS[flag]
    variable = f"NEWBON_{name.upper()}"
    return click.Option(
        [flag, name], metavar=metavar, help=text, envvar=variable, show_envvar=True, expose_value=False, callback=_set
    )


root = Root(
    name="newbon",
    params=[_global_option(flag) for flag in GLOBALS],
    help="Newbon runs containers on a fleet of Docker hosts.\n\n"
    "The options below may also stand after the command. Exit codes: 0 done, 1 error, 2 'plan' found changes, "
    "64 wrong usage, 130 Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)


def main() -> NoReturn:
    """The console script ``newbon``."""
    root.main()


if __name__ == "__main__":
    main()
