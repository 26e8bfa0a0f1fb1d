"""DNSSEC keys in an SQLite backend of PowerDNS, for zones that geodns answers: are they ones that PowerDNS can sign?

Knows the tables of PowerDNS's gsqlite3 backend (schema 4.3 to 5.1), and only reads them. Knows nothing of keys in other
databases: those cannot be looked at from a pdns.conf.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ..errors import Complaint
from .check_pdns_command import risky, wrong
from .pdns_conf import PdnsConf, Setting

PATIENCE = 1.0  # seconds, for a database that PowerDNS is writing to
# Zones with a key in use, without a SOA record of their own: so the SOA, and all else, is answered by another backend.
WIDE = """
SELECT name FROM domains WHERE id IN (SELECT domain_id FROM cryptokeys WHERE active)
  AND id NOT IN (SELECT domain_id FROM records WHERE type = 'SOA' AND NOT disabled)
  AND id NOT IN (SELECT domain_id FROM domainmetadata WHERE kind = 'NSEC3NARROW' AND content = '1')
ORDER BY name
"""


def check_keys(conf: PdnsConf, launched: list[tuple[str, str]]) -> Iterator[Complaint]:
    """Every launched SQLite backend: its switch, and the zones in it that have keys and no records."""
    for kind, prefix in launched:
        if kind != "gsqlite3":
            continue
        database, dnssec = conf.find(f"{prefix}-database", "powerdns.sqlite"), conf.find(f"{prefix}-dnssec", "no")
        if dnssec.is_on:
            yield from check_remote_auth(conf, launched)
            yield from check_zones(database)


def check_remote_auth(conf: PdnsConf, launched: list[tuple[str, str]]) -> Iterator[Complaint]:
    """A remote backend tells which records are signed, and is listened to only with its own switch."""
    for kind, prefix in launched:
        if kind == "remote" and not (switch := conf.find(f"{prefix}-dnssec", "no")).is_on:
            text = "delegations and their glue would be signed as if they were the zone's own"
            yield risky(switch, text, "yes")


def check_zones(database: Setting) -> Iterator[Complaint]:
    """Zones whose denials PowerDNS would have to look up, in a backend that has no order of names."""
    path = Path(database.value)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            zones = [str(name) for (name,) in connection.execute(WIDE)]
    except sqlite3.Error as error:
        yield risky(database, f"cannot be looked into ({error}), so whether NSEC3 is narrow there is not known")
        return
    for zone in zones:
        text = (
            f"{zone} has keys without narrow NSEC3: PowerDNS below 5.0 ends once a name that is not there is asked with DO,"
        )
        yield wrong(database, f"{text} later ones deny nothing; run pdnsutil set-nsec3 {zone} '1 0 0 -' narrow")
