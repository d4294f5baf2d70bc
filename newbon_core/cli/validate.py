"""``newbon validate``: documents against the schemas of the plugins that are installed here; no server is asked."""

from __future__ import annotations

import click

from newbon_core.cli import output as out
from newbon_core.cli.errors import Finished, problem_lines
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.sources import files_option, read_sources, refused


@click.command()
@files_option
@out.json_option
@pass_session
def validate(session: Session, files: tuple[str, ...], output: str) -> None:
    """Check documents offline with the plugins installed here. Exit code 1 when something is wrong."""
    from newbon_core.hooks.host import PluginHost
    from newbon_core.schema import load_documents

    host = PluginHost.discover(session.site.plugins)
    results = [load_documents(source.text, host, source.name) for source in read_sources(files)]
    problems = [problem for result in results for problem in result.problems]
    documents = [document for result in results for document in result.documents]
    if output == "json":
        out.write_json(
            [
                {"source": p.source, "document": p.index, "path": p.path, "value": p.value, "message": p.message,
                 "nearest": p.nearest, "line": p.line}
                for p in problems
            ]
        )  # fmt: skip
        raise Finished(1 if problems else 0)
    for note in (note for result in results for note in result.notes):
        click.echo(f"{out.paint('note:', 'yellow')} {problem_lines([note])[0]}")
    if problems:
        raise refused(problem_lines(problems))
    for document in documents:
        click.echo(f"{document.kind.lower()}/{document.name} {out.paint('is valid', 'green')}")
