"""Texts of `provision.yml` with the values, or the messages, that they give."""

from __future__ import annotations

EXTERNAL = "backend_store:\n  kind: external\n  uri: "
S3 = "artifact_store:\n  kind: s3\n  endpoint_url: "
LOGIN = "server:\n  auth: basic\n  public_url: "

VALUES = {
    "an empty file": ("", {}),
    "comments alone": ("# name: x\n", {}),
    "a group with nothing below it": ("server:\n", {}),
    "an inner group with comments alone": ("resources:\n  mlflow:\n    # memory: 4g\n", {}),
    "a key without a value": ("name:\nserver:\n  bind:\n", {}),
    "a document mark": ("---\nname: shop\n", {"name": "shop"}),
    "a merge of an anchor": ("<<: &all {name: shop}\n", {"name": "shop"}),
    "a byte order mark": ("\ufeffname: shop\n", {"name": "shop"}),
    "a quoted port": ('server:\n  port: "8080"\n', {"server": {"port": 8080}}),
    "the lowest port": ("server: {port: 1}\n", {"server": {"port": 1}}),
    "the highest port": ("server: {port: 65535}\n", {"server": {"port": 65535}}),
    "the other loopback address": ('server: {bind: "::1"}\n', {"server": {"bind": "::1"}}),
    "another address of the loopback net": ("server: {bind: 127.0.0.9}\n", {"server": {"bind": "127.0.0.9"}}),
    "a public address with login": (
        LOGIN + "https://ml.example.com/\n",
        {"server": {"auth": "basic", "public_url": "https://ml.example.com"}},
    ),
    "a public address that is this machine": (
        "server: {public_url: 'http://localhost:80/team/ml.flow/'}\n",
        {"server": {"public_url": "http://localhost:80/team/ml.flow"}},
    ),
    "workers by number": ("server: {workers: 64}\n", {"server": {"workers": 64}}),
    "a database that exists": (
        EXTERNAL + "postgresql+psycopg2://u@h:5432/db?sslmode=require\n",
        {"backend_store": {"kind": "external", "uri": "postgresql+psycopg2://u@h:5432/db?sslmode=require"}},
    ),
    "limits": (
        "resources: {mlflow: {memory: 512m, cpus: 1.5}, minio: {memory: 2g}}\n",
        {"resources": {"mlflow": {"memory": "512m", "cpus": 1.5}, "minio": {"memory": "2g"}}},
    ),
    "an image by digest": (
        "images: {caddy: 'r.io:5000/caddy@sha256:abc'}\n",
        {"images": {"caddy": "r.io:5000/caddy@sha256:abc"}},
    ),
}

FAULTS = {
    "an unknown key with its likeliest name": (
        "server:\n  prot: 1\n",
        ["2 server.prot: unknown key, did you mean server.port?"],
    ),
    "an unknown group": ("servr:\n  port: 1\n", ["1 servr: unknown key, did you mean server?"]),
    "an unknown key like no other": ("zzz: 1\n", ["1 zzz: unknown key"]),
    "an unknown key three levels down": (
        "resources:\n  mlflow:\n    memroy: 1g\n",
        ["3 resources.mlflow.memroy: unknown key, did you mean resources.mlflow.memory?"],
    ),
    "an unknown key without a value": (
        "server:\n  prot:\n",
        ["2 server.prot: unknown key, did you mean server.port?"],
    ),
    "a dotted key": ("server.port: 1\n", ["1 server.port: unknown key, did you mean server.port?"]),
    "a key that is a number": ("1: x\n", ["1 1: unknown key"]),
    "an inner key that is a number": ("server: {1: x}\n", ["1 server.1: Keys should be strings, not 1"]),
    "a key twice": ("name: a\nname: b\n", ["2 name: stands twice"]),
    "an inner key twice": ("server:\n  port: 1\n  genai: true\n  port: 2\n", ["4 server.port: stands twice"]),
    "several faults at once": (
        "name: A\nserver:\n  port: 0\n  auth: token\n  auth: none\nartifact_store:\n  kind: azure\n",
        [
            "1 name: 'A' does not fit the pattern ^[a-z0-9][a-z0-9_-]{0,39}$",
            "3 server.port: should be greater than or equal to 1, not 0",
            "5 server.auth: stands twice",
            "7 artifact_store.kind: must be one of 'minio', 's3' or 'local', not 'azure'",
        ],
    ),
    "a tab": ("server:\n\tport: 1\n", ["2 not YAML: found character '\\t' that cannot start any token"]),
    "an open bracket": ("a: [\n", ["2 not YAML: expected the node content, but found '<stream end>'"]),
    "two documents": ("--- {}\n--- {}\n", ["2 not YAML: but found another document"]),
    "an object of Python": ("name: !!python/name:os.system x\n", None),
    "a date that is none": ("name: x\nserver: 2001-99-99\n", ["2 not YAML: a value that is no timestamp"]),
    "a number that is none": ("server:\n  port: !!int eighty\n", ["2 not YAML: a value that is no int"]),
    "a number of too many digits": ("server:\n  port: 1" + "0" * 5000 + "\n", None),
    "a key that is a mapping": ("? {a: 1}\n: 2\n", ["1 not YAML: found unhashable key"]),
    "a control character": ("name: \x00\n", None),
    "brackets without end": ("[" * 3000, None),
    "a file that leads to itself": (
        "server: &a\n  b: *a\n",
        ["2 server.b: unknown key, did you mean server?"],
    ),
    "a list": ("- a\n", ["1 must be a mapping of keys, such as server:"]),
    "a word": ("x\n", ["1 must be a mapping of keys, such as server:"]),
    "a value in place of a group": ("name: a\nserver: 5\n", ["2 server: must be a mapping of keys"]),
    "a list in place of a group": ("server: [1]\n", ["1 server: must be a mapping of keys"]),
    "a name with a space": (
        "name: a b\n",
        ["1 name: 'a b' does not fit the pattern ^[a-z0-9][a-z0-9_-]{0,39}$"],
    ),
    "port 0": ("server: {port: 0}\n", ["1 server.port: should be greater than or equal to 1, not 0"]),
    "a port that is too high": (
        "server: {port: 65536}\n",
        ["1 server.port: should be less than or equal to 65535, not 65536"],
    ),
    "a word as a port": (
        "server:\n  port: http\n",
        ["2 server.port: should be a valid integer, unable to parse string as an integer, not 'http'"],
    ),
    "no workers": (
        "server:\n  workers: 0\n",
        ["2 server.workers: must be auto, or a number from 1 to 64, not 0"],
    ),
    "a word as workers": (
        "server:\n  workers: many\n",
        ["2 server.workers: must be auto, or a number from 1 to 64, not 'many'"],
    ),
    "all addresses": (
        "server:\n  bind: 0.0.0.0\n",
        [
            "2 server.bind: opens the server to the network: set auth: basic",
            "2 server.bind: opens the server to the network, where plain HTTP would show logins and data: "
            "set tls to acme, internal or files, or to external where something else terminates TLS",
        ],
    ),
    "a host name to bind to": (
        "server:\n  bind: localhost\n",
        ["2 server.bind: must be an IP address such as 127.0.0.1 or 0.0.0.0"],
    ),
    "a public address without login": (
        "server:\n  public_url: https://ml.example.com\n",
        ["2 server.public_url: opens the server to others: set auth: basic"],
    ),
    "a public address without TLS": (
        LOGIN + "http://ml.example.com\n",
        ["3 server.public_url: must start with https://: logins travel over it"],
    ),
    "a port that is no number": ("server: {port: true}\n", ["1 server.port: must be a number, not true"]),
    "cores that are no number": (
        "resources: {mlflow: {cpus: false}}\n",
        ["1 resources.mlflow.cpus: must be a number, not false"],
    ),
    "a public address with a query": (
        LOGIN + "https://ml.example.com/mlflow?x=1\n",
        [
            "3 server.public_url: must be an address such as "
            "https://mlflow.example.com or https://example.com/mlflow"
        ],
    ),
    "a public address whose path leads upward": (
        LOGIN + "https://ml.example.com/team/../mlflow\n",
        ["3 server.public_url: must have a path of letters, digits and ._~@+- alone, such as /mlflow"],
    ),
    "a public address whose path the proxy would read otherwise": (
        LOGIN + "https://ml.example.com/{env.HOME}\n",
        ["3 server.public_url: must have a path of letters, digits and ._~@+- alone, such as /mlflow"],
    ),
    "a public address with a login": (
        LOGIN + "https://u:p@ml.example.com\n",
        ["3 server.public_url: must hold no login"],
    ),
    "a public address with no such port": (
        LOGIN + "https://ml.example.com:70000\n",
        ["3 server.public_url: Port out of range 0-65535"],
    ),
    "a public address without a scheme": (
        LOGIN + "ml.example.com\n",
        ["3 server.public_url: must be an http:// or https:// address"],
    ),
    "an external database without an address": (
        "backend_store:\n  kind: external\n",
        ["1 backend_store: kind: external and uri go together"],
    ),
    "an address of the stack's own database": (
        "backend_store:\n  uri: postgresql+psycopg2://u@h/db\n",
        ["1 backend_store: kind: external and uri go together"],
    ),
    "indexes in the stack's own database, which has them": (
        "backend_store:\n  indexes: true\n",
        ["1 backend_store: indexes goes with kind: external; a database of this stack has them"],
    ),
    "a database of another driver": (
        EXTERNAL + "postgresql://u@h/db\n",
        [
            "3 backend_store.uri: must start with postgresql+psycopg2:// "
            "(a bare postgresql:// means another driver)"
        ],
    ),
    "a database without a user": (
        EXTERNAL + "postgresql+psycopg2://h/db\n",
        [
            "3 backend_store.uri: must name user, host and database: "
            "postgresql+psycopg2://USER@HOST:PORT/DATABASE"
        ],
    ),
    "a database at a port that is none": (
        EXTERNAL + "postgresql+psycopg2://u@h:pg/db\n",
        ["3 backend_store.uri: Port could not be cast to integer value as 'pg'"],
    ),
    "a prefix without an S3": (
        "artifact_store:\n  prefix: a\n",
        ["1 artifact_store: endpoint_url and prefix go with kind: s3"],
    ),
    "a bucket in capitals": (
        "artifact_store:\n  bucket: Team\n",
        ["2 artifact_store.bucket: 'Team' does not fit the pattern ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"],
    ),
    "an endpoint that is no address": (
        S3 + "s3.example.com\n",
        ["3 artifact_store.endpoint_url: must be an http:// or https:// address"],
    ),
    "an image with a space": (
        "images: {minio: a b}\n",
        ["1 images.minio: 'a b' does not fit the pattern ^[A-Za-z0-9][A-Za-z0-9._:/@-]+$"],
    ),
    "memory in another unit": (
        "resources:\n  mlflow: {memory: 2GB}\n",
        ["2 resources.mlflow.memory: '2GB' does not fit the pattern ^[1-9][0-9]*[mg]$"],
    ),
    "no memory": (
        "resources: {proxy: {memory: 0m}}\n",
        ["1 resources.proxy.memory: '0m' does not fit the pattern ^[1-9][0-9]*[mg]$"],
    ),
    "no processor": (
        "resources:\n  mlflow:\n    cpus: 0\n",
        ["3 resources.mlflow.cpus: should be greater than 0, not 0"],
    ),
    "an index with a login": (
        "build:\n  index_url: https://u:p@pypi.example.com/simple\n",
        ["2 build.index_url: must hold no login: it would be kept in the image"],
    ),
}

PASSWORDS = (
    EXTERNAL + "postgresql+psycopg2://u:hunter2@h/db\n",
    EXTERNAL + "postgresql+psycopg2://u@h/db?sslmode=require&password=hunter2\n",
    EXTERNAL + "postgresql+psycopg2://u@h/db?sslpassword=hunter2\n",
    S3 + "https://key:hunter2@s3.example.com\n",
    LOGIN + "https://u:hunter2@ml.example.com\n",
    "build:\n  index_url: https://u:hunter2@pypi.example.com/simple\n",
)
