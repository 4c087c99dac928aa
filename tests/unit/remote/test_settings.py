"""What a deploy writes into provision.yml, and what it leaves."""

from __future__ import annotations

import pytest

from provisioner.errors import SettingsError
from provisioner.model.settings_text import parse_settings
from provisioner.remote.settings import Address, settings_for

MINE = "# mine\nname: shop   # the team's\nserver:\n  workers: 2\n"


def written(text: str, **address: object) -> tuple[str, dict[str, str]]:
    given = {"destination": "ana@192.0.2.10", "hostname": "192.0.2.10", **address}
    content, changes = settings_for(text.encode(), Address(**given))  # type: ignore[arg-type]
    assert settings_for(content, Address(**given)) == (  # type: ignore[arg-type]
        content,
        {},
    ), "a second deploy writes nothing"
    return content.decode(), changes


def test_an_address_gets_an_authority_of_the_stacks_own() -> None:
    text, changes = written("")
    server = parse_settings(text).server
    assert parse_settings(text).ssh == "ana@192.0.2.10"
    assert (server.auth, server.bind, server.tls, server.public_url) == (
        "basic",
        "0.0.0.0",
        "internal",
        "https://192.0.2.10",
    )
    assert set(changes) == {"ssh", "server.auth", "server.bind", "server.tls", "server.public_url"}


@pytest.mark.parametrize(
    ("address", "tls", "url"),
    [
        ({"domain": "mlflow.example.com"}, "acme", "https://mlflow.example.com"),
        ({"domain": "mlflow.lan"}, "internal", "https://mlflow.lan"),
        ({"hostname": "gpu1.corp.example.com"}, "internal", "https://gpu1.corp.example.com"),
        ({"hostname": "2001:db8::1", "port": 8443}, "internal", "https://[2001:db8::1]:8443"),
        ({"hostname": "gpu1", "destination": "gpu"}, "internal", "https://gpu1"),
    ],
)
def test_a_public_domain_gets_acme_and_all_else_does_not(
    address: dict[str, object], tls: str, url: str
) -> None:
    server = parse_settings(written("", **address)[0]).server
    assert (server.tls, server.public_url) == (tls, url)


def test_every_other_line_stays() -> None:
    text, _ = written(MINE)
    assert all(line in text.splitlines() for line in MINE.splitlines())
    assert parse_settings(text).server.workers == 2


def test_what_the_user_set_stays_until_another_is_asked_for() -> None:
    own = "server:\n  auth: basic\n  tls: files\n  tls_certificate: a.pem\n  tls_key: b.pem\n"
    own += "  public_url: https://mlflow.corp\n  bind: 192.0.2.10\n"
    assert written(own)[1] == {"ssh": "ana@192.0.2.10"}
    assert written(own, port=8443)[1]["server.public_url"] == "https://mlflow.corp:8443"
    text, _ = written("")
    assert written(text, domain="mlflow.example.com")[1] == {
        "server.tls": "acme",
        "server.public_url": "https://mlflow.example.com",
    }


def test_external_tls_keeps_its_loopback() -> None:
    own = (
        "server:\n  auth: basic\n  tls: external\n  trusted_proxies: [192.0.2.1]\n"
        "  public_url: https://mlflow.example.com\n"
    )
    assert written(own)[1] == {"ssh": "ana@192.0.2.10"}


def test_a_file_that_cannot_be_edited_safely_is_refused_with_the_lines_to_write() -> None:
    with pytest.raises(SettingsError) as caught:
        written(
            (
                "server: &s\n  workers: 2\nresources: {}\n# x\nbuild: {}\nimages: {}\n"
                "backend_store: {}\nname: a\n"
            ).replace("&s\n", "&s\n  <<: {}\n")
        )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("ssh", ["-oProxyCommand=x", "a b", "ana@-x", "ana@host;id", ""])
def test_no_option_or_command_passes_as_a_host(ssh: str) -> None:
    with pytest.raises(SettingsError):
        parse_settings(f"ssh: {ssh!r}")
