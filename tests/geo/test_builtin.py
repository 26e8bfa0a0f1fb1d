"""Where the packaged database lies and what is said about it."""

from geodns.geo.builtin import database_path, notice


def test_the_database_lies_inside_the_package() -> None:
    path = database_path()
    assert path.is_file()
    assert (path.name, path.parent.name, path.parent.parent.name) == ("geoip.mmdb", "builtin", "geodns")


def test_the_notice_has_what_the_licence_asks_for() -> None:
    told = notice()
    assert (told.attribution, told.link) == ("IP Geolocation by DB-IP", "https://db-ip.com")
    assert (told.licence, told.licence_link) == ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/")
    assert told.changes.startswith("Changed by")
    assert [len(part) for part in told.edition.split("-")] == [4, 2]


def test_the_notice_is_one_line_with_everything_in_it() -> None:
    told = notice()
    line = str(told)
    assert "\n" not in line
    for part in (told.attribution, told.link, told.licence, told.licence_link, told.changes, told.edition):
        assert part in line
