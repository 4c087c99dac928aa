"""What a server's own words mean for a deploy: every finding at once, each with what fixes it."""

from __future__ import annotations

import subprocess

import pytest

from provisioner.remote.facts import Wanted, addresses, findings, parse, script
from provisioner.system.listeners import listens, parse_holder

GOOD = {
    "system": "Linux\nx86_64",
    "docker": "26.1.5+dfsg1",
    "compose": "2.26.1-4",
    "memory": "MemTotal:        4046844 kB\nMemFree: 1 kB",
    "processor": "flags\t\t: fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm",
    "flock": "/usr/bin/flock",
    "root": "/var/lib/docker",
    "engine_disk": (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 10000000 1 9000000 1% /"
    ),
    "folder_disk": (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 10000000 1 9000000 1% /"
    ),
    "ports": "",
    "networks": "bridge ;172.17.0.0/16 \nhost ;\nmlflow_edge mlflow-1;172.18.0.0/16 ",
    "routes": (
        "default via 192.0.2.1 dev eth0\n172.17.0.0/16 dev docker0 proto kernel\n"
        "172.18.0.0/16 dev br-12\n192.0.2.0/24 dev eth0"
    ),
    "addresses": (
        "2: eth0    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0\n"
        "2: eth0 inet6 2001:db8::1/64 scope global"
    ),
    "client": "198.51.100.7 50000 192.0.2.10 22",
}
WANTED = Wanted("0.0.0.0", (80, 443), True)
LISTENS_443 = (
    "   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "1 1 0 100 0 0 10 0"
)


def what(**changed: str) -> list[str]:
    found = list(findings({**GOOD, **changed}, WANTED))
    assert all(one.hint or "no Linux" in one.what for one in found)
    return [one.what for one in found]


def test_a_good_server_has_no_findings() -> None:
    assert what() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"system": "Darwin\narm64"}, "the server is no Linux"),
        ({"docker": "sh: 1: docker: not found"}, "Docker is not installed"),
        (
            {"docker": "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."},
            "the Docker engine is not running",
        ),
        (
            {"docker": "permission denied while trying to connect to the Docker daemon socket"},
            "this account may not use the Docker engine",
        ),
        ({"docker": "19.03.15"}, "Docker engine 19.03.15 is too old"),
        ({"compose": "docker: 'compose' is not a docker command."}, "Docker's Compose plugin is missing"),
        ({"compose": "v2.19.1"}, "Docker Compose v2.19.1 is too old"),
        ({"flock": ""}, "the program flock is missing"),
        (
            {"processor": "flags\t: fpu sse sse2 pni cx16"},
            "the processor is older than x86-64-v2, which the services need",
        ),
        ({"memory": "MemTotal: 1000000 kB"}, "the server has 976 MB of memory"),
        (
            {"engine_disk": "/dev/vda 10000000 1 1024000 90% /"},
            "the disk of /var/lib/docker has 1000 MB free",
        ),
        (
            {"folder_disk": "tmpfs 10 1 1024 90% /home\nreadonly"},
            "the disk of the account's home directory has 1 MB free",
        ),
        ({"folder_disk": "readonly"}, "the account's home directory cannot be written to"),
        ({"ports": LISTENS_443}, "port 443 is already in use"),
        (
            {"client": "172.18.3.4 50000 192.0.2.10 22"},
            "Docker's network mlflow_edge has the subnet that you come from",
        ),
        (
            {"routes": "172.16.0.0/12 via 10.8.0.1 dev tun0"},
            "Docker's network bridge has a subnet that is somewhere else too",
        ),
        ({"networks": "\n".join(f"n{i} ;10.{i}.0.0/16" for i in range(29))}, "Docker has no subnets left"),
    ],
)
def test_each_thing_that_is_missing_is_found(changed: dict[str, str], said: str) -> None:
    assert said in what(**changed)


def test_all_are_found_at_once() -> None:
    assert len(what(compose="v2.1.0", flock="", memory="MemTotal: 1000 kB", ports=LISTENS_443)) == 4


def test_a_later_deploy_needs_less_room() -> None:
    facts = {**GOOD, "engine_disk": "/dev/vda 10000000 1 1024000 90% /"}
    assert list(findings(facts, Wanted("0.0.0.0", (), False))) == []


def test_every_address_of_the_server_is_known() -> None:
    assert addresses(GOOD) == {"192.0.2.10", "2001:db8::1"}
    assert addresses({"addresses": "192.0.2.10 2001:db8::1", "client": "198.51.100.7 1 203.0.113.5 22"}) == {
        "192.0.2.10",
        "2001:db8::1",
        "203.0.113.5",
    }


def test_the_script_runs_in_a_plain_shell_and_answers_every_question() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", script(), "sh", "/no/such/folder"], capture_output=True, text=True, check=True
    )
    assert set(parse(done.stdout)) == set(GOOD)


def test_listeners_are_read_from_the_kernels_tables() -> None:
    six = "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0"
    loopback = "   1: 0100007F:1F90 00000000:0000 0A 0"
    assert listens(LISTENS_443, "192.0.2.10", 443)
    assert listens(six, "0.0.0.0", 80)
    assert listens(loopback, "127.0.0.1", 8080)
    assert listens(loopback, "0.0.0.0", 8080)
    assert not listens(loopback, "192.0.2.10", 8080)
    assert not listens(loopback.replace(" 0A ", " 01 "), "127.0.0.1", 8080)


def test_who_holds_a_port_is_named() -> None:
    line = 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=812,fd=6),("nginx",pid=811,fd=6))'
    assert parse_holder(line) == "nginx, process 812"
    assert parse_holder(f"{line}\ncontainer shop_proxy_1") == "container shop_proxy_1"
    assert parse_holder("LISTEN 0 511 0.0.0.0:80 0.0.0.0:*") == ""
