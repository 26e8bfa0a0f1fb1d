"""What in a pdns.conf keeps PowerDNS from starting beside geodns, or makes geographic answers wrong.

Knows what each setting does to answers that depend on the client. `pdns_conf` knows how the file is read,
`check_pdns_command` what leads to the daemon, `check_pdns_keys` DNSSEC. An error is what PowerDNS does not start with, or
never answers from geodns with; all else is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Complaint
from .check_pdns_command import NO_START, Beside, check_command, check_socket, risky, wrong
from .check_pdns_keys import check_keys
from .model_server import Server
from .pdns_conf import PdnsConf, Setting, read_pdns_conf

OURS = {"pipe": ("abi-version", "command", "regex", "timeout"), "remote": ("connection-string", "dnssec")}
OTHERS = ("bind", "geoip", "gmysql", "godbc", "gpgsql", "gsqlite3", "ldap", "lmdb", "lua2", "tinydns")
NUMBERS = (
    "cache-ttl",
    "distributor-threads",
    "negquery-cache-ttl",
    "query-cache-ttl",
    "receiver-threads",
    "zone-cache-refresh-interval",
)
MOST_NEGATIVE_TTL = 5  # seconds
MOST_QUERY_TTL = 60  # seconds
LEAST_TIMEOUT = 1000  # milliseconds; a busy machine may need some hundred to start a shim
MOST_THREADS = 32  # each a shim, and a connection of the daemon
ABI_LEAST, ABI_MOST, ABI_BEST = 3, 5, "5"
SOCKET = "unix:path=/run/geodns/backend.sock"


def check_powerdns(path: Path, config: Path | None = None, server: Server | None = None) -> list[Complaint]:
    """Every complaint about the pdns.conf at *path* and what it includes, file by file and line by line.

    *config* is the configuration of the geodns that is to stand behind, *server* what it says there: then the paths of both
    are compared. Raises nothing: a file that cannot be read is a complaint too.
    """
    conf = read_pdns_conf(path)
    found = list(conf.complaints)
    if conf.is_read:
        found += check_settings(conf, Beside(config, server))
    order = {str(path): 0}
    for complaint in found:
        order.setdefault(complaint.place.file, len(order))
    return sorted(dict.fromkeys(found), key=lambda complaint: (order[complaint.place.file], complaint.place.line))


def check_settings(conf: PdnsConf, beside: Beside) -> Iterator[Complaint]:
    """What the settings mean together."""
    launched = conf.find_launched()
    kinds = {kind for kind, _ in launched}
    yield from check_strangers(conf, {prefix for _, prefix in launched})
    if not kinds & set(OURS):
        yield wrong(conf.find("launch"), "geodns is never asked", "pipe (or remote, beside other backends)")
        return
    yield from check_numbers(map(conf.find, NUMBERS))
    yield from check_caches(conf, "pipe" in kinds)
    yield from check_answers(conf, kinds)
    yield from check_threads(conf)
    for kind, prefix in launched:
        if kind == "pipe":
            yield from check_pipe(conf, prefix, beside)
        elif kind == "remote":
            yield from check_remote(conf, prefix, beside)
    yield from check_keys(conf, launched)


def check_strangers(conf: PdnsConf, launched: set[str]) -> Iterator[Complaint]:
    """Settings of backends that are not launched, and of ours that do not exist: PowerDNS does not know their names."""
    known = {f"{prefix}-{name}" for prefix in launched for name in OURS.get(prefix.split("-")[0], ())}
    for setting in conf.settings.values():
        kind = setting.name.split("-", 1)[0]
        if kind in OURS and setting.name not in known:
            yield wrong(setting, f"{NO_START}, for no {kind} backend in launch has such a setting")
        elif kind in OTHERS and not any(setting.name.startswith(f"{prefix}-") for prefix in launched):
            yield wrong(setting, f"{NO_START}, for launch names no {kind} backend that this belongs to")


def check_numbers(settings: Iterable[Setting]) -> Iterator[Complaint]:
    """Numbers that are none."""
    for setting in settings:
        if setting.number is None:
            yield wrong(setting, f"{NO_START}, for this must be a whole number")


def check_caches(conf: PdnsConf, pipe: bool) -> Iterator[Complaint]:
    """Four caches, none of which knows who asked."""
    zones, packets = conf.find("zone-cache-refresh-interval"), conf.find("cache-ttl")
    if pipe and zones.number:
        yield wrong(zones, f"{NO_START}, for the pipe backend cannot list its zones", "0")
    if packets.number:
        yield risky(packets, "for so many seconds an empty answer to one client is given to all", "0")
    negative, queries = conf.find("negquery-cache-ttl"), conf.find("query-cache-ttl")
    if (negative.number or 0) > MOST_NEGATIVE_TTL:
        died = "; also a whole zone is, once a shim has died" if pipe else ""
        text = f"for so many seconds a name that was added is still missing, for all clients{died}"
        yield risky(negative, text, str(MOST_NEGATIVE_TTL))
    if (queries.number or 0) > MOST_QUERY_TTL:
        yield risky(queries, "for so many seconds a record that was changed is answered as it was", "20")


def check_answers(conf: PdnsConf, kinds: set[str]) -> Iterator[Complaint]:
    """What clients are told, and who counts as the client."""
    subnets, together = conf.find("edns-subnet-processing"), conf.find("consistent-backends")
    if not subnets.is_on:
        yield risky(subnets, "client subnets are ignored, every client is taken to be where its resolver is", "yes")
    if together.is_on:
        text = "zones are taken to lie in one backend each, and geodns is asked twice for each query"
        yield risky(together, text + spell(together), "no")
    anything, transfer = conf.find("any-to-tcp"), conf.find("disable-axfr")
    if not anything.is_on:
        yield risky(anything, "ANY over UDP gets every record of a name, also where the sender is forged", "yes")
    if not transfer.is_on and kinds <= set(OURS):
        yield risky(transfer, "geodns refuses zone transfers, but only once PowerDNS has begun to send", "yes")
    alias, root = conf.find("expand-alias"), conf.find("chroot")
    if alias.is_on:
        text = "an ALIAS to a geographic name is resolved where PowerDNS is, not where the client is"
        yield risky(alias, text + spell(alias), "no")
    if root.value:
        yield risky(root, "geodns, what it needs, and its socket have to be inside; a service manager confines as well")


def check_threads(conf: PdnsConf) -> Iterator[Complaint]:
    """How many ask at once."""
    distributors, receivers = conf.find("distributor-threads"), conf.find("receiver-threads")
    if distributors.number is None or receivers.number is None:
        return
    threads = distributors.number * receivers.number
    if distributors.number <= 1:
        yield risky(distributors, "one lookup that takes long holds up all queries over UDP", "3")
    elif threads > MOST_THREADS:
        most = distributors if distributors.is_written else receivers
        yield risky(
            most, f"that makes {threads} threads, each with a connection to geodns, and with the pipe a process, of its own"
        )


def check_pipe(conf: PdnsConf, prefix: str, beside: Beside) -> Iterator[Complaint]:
    """One pipe backend: *prefix* is what its settings begin with."""
    yield from check_command(conf.find(f"{prefix}-command", ""), beside)
    abi, timeout = conf.find(f"{prefix}-abi-version", "1"), conf.find(f"{prefix}-timeout", "2000")
    yield from check_numbers((abi, timeout))
    if abi.number is not None and not 1 <= abi.number <= ABI_MOST:
        yield wrong(abi, "geodns answers SERVFAIL to all, for it knows no such version", ABI_BEST)
    elif abi.number is not None and abi.number < ABI_LEAST:
        yield risky(abi, "without client subnets and scopes one client's answer is kept for all", ABI_BEST)
    if timeout.number is not None:
        yield from check_timeout(timeout, timeout.number)


def check_timeout(setting: Setting, timeout: int) -> Iterator[Complaint]:
    """Milliseconds until PowerDNS gives a lookup up."""
    if timeout <= 0:
        yield risky(setting, f"{timeout} ms is no limit: where geodns hangs, PowerDNS does too; take 2000")
    elif timeout < LEAST_TIMEOUT:
        yield risky(setting, f"{timeout} ms may pass before geodns has begun, on a busy machine; take 2000")


def check_remote(conf: PdnsConf, prefix: str, beside: Beside) -> Iterator[Complaint]:
    """One remote backend: ``unix:path=/run/geodns/backend.sock,timeout=2000``, and no other connector."""
    setting = conf.find(f"{prefix}-connection-string", "")
    connector, _, rest = setting.value.partition(":")
    given = {name: value for name, _, value in (word.partition("=") for word in rest.split(","))}
    path, timeout = given.get("path", ""), given.get("timeout", "2000")
    if connector != "unix":
        yield wrong(setting, "geodns is reached on its unix socket alone", SOCKET)
        return
    if not path.startswith("/"):
        yield wrong(setting, "it names no path that begins with /", SOCKET)
    else:
        yield from check_socket(setting, path, beside)
    if timeout.isascii() and timeout.isdigit():
        yield from check_timeout(setting, int(timeout))
    else:
        yield wrong(setting, f"PowerDNS fails, for {timeout} is not a number of milliseconds")


def spell(setting: Setting) -> str:
    """A word more where somebody meant no: PowerDNS takes everything for yes but two words."""
    return "" if setting.value == "yes" else " (only no and off are no to PowerDNS)"
