"""``newbon describe``: everything about one object, with what belongs to it and its last events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli import text
from newbon_core.cli.columns import LAYOUTS, detail_of, exit_text, natural_key, node_state
from newbon_core.cli.completing import complete_noun, complete_object
from newbon_core.cli.errors import CliError
from newbon_core.cli.get import fetch, find, noun_of
from newbon_core.cli.session import Session, pass_session

LAST_EVENTS = 10
DESCRIBED = ("services", "instances", "nodes", "revisions")


@click.command()
@click.argument("noun", metavar="KIND", shell_complete=complete_noun)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_object)
@pass_session
def describe(session: Session, noun: str, names: tuple[str, ...]) -> None:
    """Show everything about a service, instance, node or revision (web/3, or web for all of it)."""
    noun = noun_of(noun, DESCRIBED)
    show: dict[str, Callable[[Session, str], None]] = {
        "services": _service, "instances": _instance, "nodes": _node, "revisions": _revision,
    }  # fmt: skip
    for i, name in enumerate(names):
        if i:
            click.echo()
        show[noun](session, name)


def _facts(pairs: Sequence[tuple[str, object]]) -> None:
    width = max(len(key) for key, _ in pairs) + 1
    for key, value in pairs:
        if value not in (None, "", "-"):
            click.echo(f"{out.paint(f'{key}:'.ljust(width), 'bold')} {text.one_line(value)}")


def _heading(title: str) -> None:
    click.echo(f"\n{out.paint(title, 'bold')}")


def _block(value: object) -> None:
    for line in out.yaml_text(value).splitlines():
        click.echo(f"  {line}")


def _when(at: object, now: float) -> str:
    return "-" if text.timestamp(at) == "-" else f"{text.timestamp(at)} ({text.age(at, now)} ago)"


def _service(session: Session, name: str) -> None:
    item, now = find(session.client, "services", name), session.now()
    _facts(
        [
            ("Service", item["name"]),
            ("Image", item["image"]),
            ("Labels", text.pairs(item["labels"])),
            ("Running", f"{item['running']} of {item['replicas']}"),
            ("Revision", item["revision"]),
            ("Created", _when(item["created_at"], now)),
            ("Updated", f"{_when(item['updated_at'], now)} by {item.get('updated_by') or 'unknown'}"),
        ]
    )
    _heading("Document")
    _block(item["spec"])
    _instances(session, session.client.instances(service=name), now)
    _events(session, now, name)


def _instances(session: Session, items: list[Any], now: float) -> None:
    _heading(f"Instances ({len(items)})")
    if not items:
        click.echo("  none")
        return
    layout = LAYOUTS["instances"]
    rows = [layout.row(item, now) for item in sorted(items, key=layout.key)]
    shown = sorted({*layout.shown(False), 4})
    out.write_table(session, [layout.columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _events(session: Session, now: float, service: str, about: str | None = None) -> None:
    items = session.client.events(service=service, limit=LAST_EVENTS if about is None else 1000)
    if about is not None:
        # What was decided for several instances at once is one event of their service that names them.
        word = re.compile(rf"(?<![\w-]){re.escape(about)}(?![\w-])")
        items = [item for item in items if item["name"] == about or word.search(item["message"])]
    _show_events(session, now, items)


def _show_events(session: Session, now: float, items: Sequence[Any]) -> None:
    items = items[-LAST_EVENTS:]
    _heading("Last events")
    if not items:
        click.echo("  none")
        return
    layout = LAYOUTS["events"]
    shown = layout.shown(False)
    rows = [layout.row(item, now) for item in items]
    out.write_table(session, [layout.columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _instance(session: Session, name: str) -> None:
    item, now = find(session.client, "instances", name), session.now()
    usage = item.get("usage") or {}
    _facts(
        [
            ("Instance", item["name"]),
            ("Uid", item["uid"]),
            ("Service", f"{item['service']}, revision {item['revision']}"),
            ("State", item["state"]),
            ("Detail", detail_of(item)),
            ("Reason", item.get("reason")),
            ("Exit", exit_text(item)),
            ("Failures", f"{item['failures']} in a row" if item.get("failures") else ""),
            ("Node", item.get("node")),
            ("Address", item.get("address")),
            ("Ports", text.pairs(item.get("host_ports"))),
            ("Container", item.get("container_id")),
            ("Image", item.get("image_id")),
            ("Labels", text.pairs(item.get("labels"))),
            ("Created", _when(item.get("created_at"), now)),
            ("Placed", _when(item.get("placed_at"), now)),
            ("Started", _when(item.get("started_at"), now)),
            ("Finished", _when(item.get("finished_at"), now)),
            ("CPU", f"{usage['cpu_cores']:.2f} cores" if "cpu_cores" in usage else ""),
            ("Memory", text.mib(usage.get("memory_bytes"))),
            ("Network", f"{text.rate(usage.get('receive_bytes_s'))} in, {text.rate(usage.get('transmit_bytes_s'))} out"
             if usage else ""),
        ]
    )  # fmt: skip
    if item.get("placement"):
        _heading("Placement")
        for line in placement_lines(item["placement"]):
            click.echo(f"  {line}")
    _events(session, now, item["service"], about=name)


def placement_lines(placement: Mapping[str, Any]) -> list[str]:
    """A kept placement in sentences."""
    parts = [f"{plugin} {value:.3f}" for plugin, value in (placement.get("terms") or {}).items()]
    lines = [f"score {placement['score']:.3f}" + (f" = {' + '.join(parts)}" if parts else "")]
    lines.append(f"{placement.get('feasible', 0)} of {placement.get('nodes', 0)} nodes passed all filters")
    rejected = placement.get("rejected") or {}
    if rejected:
        lines.append("rejected: " + ", ".join(f"{count} by {text.one_line(why)}" for why, count in rejected.items()))
    if placement.get("runner_up"):
        score = placement.get("runner_up_score")
        lines.append(f"next best: {placement['runner_up']}" + (f" with {score:.3f}" if score is not None else ""))
    return lines


def _node(session: Session, name: str) -> None:
    item, now = find(session.client, "nodes", name), session.now()
    usage = item.get("usage") or {}
    free, total = item["memory_free_bytes"], item["memory_bytes"]
    _facts(
        [
            ("Node", item["name"]),
            ("State", node_state(item).text),
            ("Since", _when(item.get("state_since"), now)),
            ("Reason", item.get("state_reason")),
            ("Address", item.get("address")),
            ("Last heard", f"{text.age(item.get('last_heard'), now)} ago" if item.get("last_heard") else "never"),
            ("CPU", f"{text.cores(item['cpu_free_millis'])} of {text.cores(item['cpu_millis'])} cores not reserved"),
            ("Memory", f"{text.mib(free)} of {text.mib(total)} not reserved"),
            ("Countable", text.pairs(item.get("countable"))),
            ("Load", f"{usage['cpu_cores']:.2f} cores used, load {usage['load1']:.2f}" if usage else ""),
            ("Memory used", text.mib(usage.get("memory_used_bytes"))),
            ("Disk used", f"{text.mib(usage['disk_used_bytes'])} of {text.mib(usage['disk_total_bytes'])}"
             if usage else ""),
            ("Runtimes", text.pairs(item.get("runtimes"))),
            ("Agent", item.get("agent_version")),
            ("Taints", text.taints(item.get("taints"))),
            ("Created", _when(item.get("created_at"), now)),
        ]
    )  # fmt: skip
    _heading("Labels")
    _block(dict(sorted((item.get("labels") or {}).items())))
    _instances(session, session.client.instances(node=name), now)
    _show_events(session, now, session.client.events(node=name, limit=LAST_EVENTS))


def _revision(session: Session, name: str) -> None:
    service, _, number = name.partition("/")
    found = fetch(session.client, "revisions", [service])
    if number:
        found = [item for item in found if number.isdigit() and item["number"] == int(number)]
        if not found:
            raise CliError(
                f"service {service} has no revision {number!r}", f"list them: newbon get revisions {service}"
            )
    now = session.now()
    for i, item in enumerate(sorted(found, key=lambda each: natural_key(str(each["number"])))):
        if i:
            click.echo()
        _facts(
            [
                ("Service", item["service"]),
                ("Revision", f"{item['number']}{' (current)' if item.get('current') else ''}"),
                ("Image", item["image"]),
                ("Created", f"{_when(item['created_at'], now)} by {item.get('created_by') or 'unknown'}"),
            ]
        )
        _heading("Document")
        _block(item["spec"])
