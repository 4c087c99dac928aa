"""Projects of every layout: what a link writes where, and what it refuses."""

from __future__ import annotations

from typing import TypedDict

from tests.support.link_project import BASE, LOCAL, OLD, OURS, SETTINGS, SHARED, SOFT, THEIRS, URI, Tree


class Options(TypedDict, total=False):
    """What the link is told."""

    uri: str
    env: str


KEDRO_018 = '[tool.kedro]\npackage_name = "demo"\nproject_name = "demo"\nkedro_init_version = "0.18.14"\n'
# name: (settings, files before, options, files after that differ)
LAYOUTS: dict[str, tuple[str, Tree, Options, Tree]] = {
    "nothing yet, loopback": (
        SETTINGS,
        {"conf/base/": "", "conf/local/": ""},
        {},
        {"conf/local/mlflow.yml": OURS},
    ),
    "no conf/local": (SETTINGS, {"conf/base/": ""}, {}, {"conf/local/mlflow.yml": OURS}),
    "nothing yet, shared": (
        SETTINGS,
        {"conf/base/": "", "conf/local/": ""},
        {"uri": SHARED},
        {"conf/base/mlflow.yml": THEIRS},
    ),
    "shared, no conf/local": (
        SETTINGS,
        {"conf/base/": ""},
        {"uri": SHARED},
        {"conf/base/mlflow.yml": THEIRS},
    ),
    "local file": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: mlruns # x\n"},
        {},
        {"conf/local/mlflow.yml": f'server:\n  mlflow_tracking_uri: "{URI}" # x\n'},
    ),
    "a yaml file": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yaml": "tracking: {}\n"},
        {},
        {"conf/local/mlflow.yaml": f"tracking: {{}}\n{OURS}"},
    ),
    "base only, loopback: the block is carried over": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  credentials: mine\n  zeta: {a: true}\n"
            ),
            "conf/local/": "",
        },
        {},
        {"conf/local/mlflow.yml": OURS + '  credentials: "mine"\n  zeta: {a: true}\n'},
    ),
    "base only, loopback, soft merge": (
        SOFT,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n  credentials: mine\n",
            "conf/local/": "",
        },
        {},
        {"conf/local/mlflow.yml": OURS},
    ),
    "base and local, shared: local's block hides the base's": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n",
            "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: http://mine\n  credentials: c\n",
        },
        {"uri": SHARED},
        {"conf/local/mlflow.yml": THEIRS + "  credentials: c\n"},
    ),
    "base and local without block, shared": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n",
            "conf/local/mlflow.yml": "ui: {}\n",
        },
        {"uri": SHARED},
        {"conf/base/mlflow.yml": THEIRS},
    ),
    "soft merge, local block without address, shared": (
        SOFT,
        {"conf/base/mlflow.yml": "server: {}\n", "conf/local/mlflow.yml": "server:\n  credentials: c\n"},
        {"uri": SHARED},
        {"conf/base/mlflow.yml": f'server: {{mlflow_tracking_uri: "{SHARED}"}}\n'},
    ),
    "an environment by name": (
        SETTINGS,
        {"conf/base/": "", "conf/local/": ""},
        {"env": "prod"},
        {"conf/prod/mlflow.yml": OURS},
    ),
    "the base by name": (
        SETTINGS,
        {"conf/base/": "", "conf/local/": ""},
        {"env": "base"},
        {"conf/base/mlflow.yml": OURS},
    ),
    "configuration elsewhere": (
        "CONF_SOURCE = 'settings/conf'\n",
        {"settings/conf/base/": "", "conf/local/mlflow.yml": "not: ours\n"},
        {},
        {"settings/conf/local/mlflow.yml": OURS},
    ),
    "environments of other names": (
        "CONFIG_LOADER_ARGS = {'base_env': 'common', 'default_run_env': 'me', "
        "'custom_resolvers': {'f': lambda x: x}}\n",
        {"conf/common/": ""},
        {},
        {"conf/me/mlflow.yml": OURS},
    ),
    "no settings file": ("", {"conf/base/": "", "conf/local/": ""}, {}, {"conf/local/mlflow.yml": OURS}),
    "a file in a folder": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow/tracking.yml": "server: {}\n"},
        {},
        {"conf/local/mlflow/tracking.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
    "several files, one block": (
        SETTINGS,
        {
            "conf/base/": "",
            "conf/local/mlflow.yml": "ui: {}\n",
            "conf/local/mlflow_server.yml": "server: {}\n",
        },
        {},
        {"conf/local/mlflow_server.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
    "a global, set where it stands": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:tracker}\n",
            "conf/base/globals.yml": "a: 1\ntracker: http://old # here\n",
            "conf/local/": "",
        },
        {"uri": SHARED},
        {"conf/base/globals.yml": f'a: 1\ntracker: "{SHARED}" # here\n'},
    ),
    "a global, overruled for this machine": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:tracker}\n",
            "conf/base/globals.yml": "tracker: http://old\n",
            "conf/local/": "",
        },
        {},
        {"conf/local/globals.yml": f'tracker: "{URI}"\n'},
    ),
    "a global that local sets already, shared": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": 'server: {mlflow_tracking_uri: "${globals:a.b}"}\n',
            "conf/base/globals.yml": "a: {b: http://old}\n",
            "conf/local/globals.yml": "a:\n  b: http://mine\n",
        },
        {"uri": SHARED},
        {"conf/local/globals.yml": f'a:\n  b: "{SHARED}"\n'},
    ),
    "a registry on the old server follows": (
        SETTINGS,
        {
            "conf/base/": "",
            "conf/local/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://old/\n"
            ),
        },
        {},
        {"conf/local/mlflow.yml": OURS + f'  mlflow_registry_uri: "{URI}"\n'},
    ),
    "a registry of its own stays": (
        SETTINGS,
        {
            "conf/base/": "",
            "conf/local/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://reg\n"
            ),
        },
        {},
        {"conf/local/mlflow.yml": OURS + "  mlflow_registry_uri: http://reg\n"},
    ),
    "a registry by a global is carried over as it is": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: ${globals:models}\n"
            ),
            "conf/base/globals.yml": "models: http://reg\n",
            "conf/local/": "",
        },
        {},
        {"conf/local/mlflow.yml": OURS + '  mlflow_registry_uri: "${globals:models}"\n'},
    ),
    "a registry by a global that is the old server follows": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: ${globals:models}\n"
            ),
            "conf/base/globals.yml": "models: http://old\n",
            "conf/local/": "",
        },
        {},
        {"conf/local/mlflow.yml": OURS + f'  mlflow_registry_uri: "{URI}"\n'},
    ),
    "a registry by a global that is the old server follows, shared": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": (
                "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: ${globals:models}\n"
            ),
            "conf/base/globals.yml": "models: http://old\n",
            "conf/local/": "",
        },
        {"uri": SHARED},
        {
            "conf/base/globals.yml": f'models: "{SHARED}"\n',
            "conf/base/mlflow.yml": (
                f'server:\n  mlflow_tracking_uri: "{SHARED}"\n  mlflow_registry_uri: ${{globals:models}}\n'
            ),
        },
    ),
    "Kedro 0.18 has its environments whatever is left out": (
        "CONFIG_LOADER_ARGS = {'config_patterns': {'spark': ['spark*/']}}\n",
        {"pyproject.toml": KEDRO_018, "conf/base/": "", "conf/local/": ""},
        {},
        {"conf/local/mlflow.yml": OURS},
    ),
    "a hidden copy and a backup beside it": (
        SETTINGS,
        {
            "conf/base/": "",
            "conf/local/mlflow.yml": "server: {}\n",
            "conf/local/.mlflow.yml": "x",
            "conf/local/mlflow.yml.bak": "server: {}",
        },
        {},
        {"conf/local/mlflow.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
}
# name: (settings, files, options, words of what or why, place)
REFUSED: dict[str, tuple[str, Tree, Options, str, str]] = {
    "flat": (SETTINGS, {LOCAL: "mlflow_tracking_uri: mlruns\n", "conf/base/": ""}, {}, "flat form", LOCAL),
    "flat in the base": (
        SETTINGS,
        {BASE: "mlflow_tracking_uri: mlruns\n", "conf/local/": ""},
        {},
        "flat form",
        BASE,
    ),
    "key twice": (SETTINGS, {LOCAL: OLD + OLD, "conf/base/": ""}, {}, "there twice", f"{LOCAL}, line 3"),
    "two files, one key": (
        SETTINGS,
        {LOCAL: OLD, "conf/local/mlflow_copy.yml": OLD, "conf/base/": ""},
        {},
        "both have the key 'server'",
        "",
    ),
    "two documents": (
        SETTINGS,
        {LOCAL: "a: 1\n---\nb: 2\n", "conf/base/": ""},
        {},
        "several documents",
        f"{LOCAL}, line 2",
    ),
    "tab": (
        SETTINGS,
        {LOCAL: "server:\n\tcredentials: a\n", "conf/base/": ""},
        {},
        "a tab",
        f"{LOCAL}, line 2",
    ),
    "alias": (
        SETTINGS,
        {LOCAL: "_a: &a x\nserver:\n  mlflow_tracking_uri: *a\n", "conf/base/": ""},
        {},
        "alias",
        f"{LOCAL}, line 3",
    ),
    "JSON": (
        SETTINGS,
        {"conf/local/mlflow.json": '{"server": {}}', "conf/base/": ""},
        {},
        "it is JSON",
        "conf/local/mlflow.json",
    ),
    "interpolated": (
        SETTINGS,
        {LOCAL: "_b: http://x\nserver:\n  mlflow_tracking_uri: ${_b}/y\n", "conf/base/": ""},
        {},
        "interpolation",
        f"{LOCAL}, line 3",
    ),
    "global inside of a longer value": (
        SETTINGS,
        {
            LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}:5000\n",
            "conf/base/globals.yml": "h: http://x\n",
        },
        {},
        "interpolation",
        f"{LOCAL}, line 2",
    ),
    "global with a default": (
        SETTINGS,
        {
            LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h, x}\n",
            "conf/base/globals.yml": "h: http://x\n",
        },
        {},
        "interpolation",
        f"{LOCAL}, line 2",
    ),
    "global that another value is built from": (
        SETTINGS,
        {
            LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}\n",
            "conf/base/globals.yml": "h: http://x\n",
            "conf/base/catalog.yml": "a:\n  filepath: ${globals:h}/data\n",
        },
        {},
        "inside of a longer value",
        "conf/base/catalog.yml, line 2",
    ),
    "global that is not there": (
        SETTINGS,
        {LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}\n", "conf/base/": ""},
        {},
        "no plain text",
        "no globals.yml",
    ),
    "global inside of a block of the base": (
        SETTINGS,
        {
            BASE: "server:\n  mlflow_tracking_uri: ${globals:a.b}\n",
            "conf/base/globals.yml": "a: {b: x, c: y}\n",
            "conf/local/": "",
        },
        {},
        "inside of a block",
        "conf/base/globals.yml",
    ),
    "a value to carry that only works in the base": (
        SETTINGS,
        {BASE: "_c: mine\nserver:\n  credentials: ${_c}\n", "conf/local/": ""},
        {},
        "only the base has",
        "conf/base",
    ),
    "the base by name, hidden": (
        SETTINGS,
        {BASE: OLD, LOCAL: OLD},
        {"env": "base"},
        "hides the base's",
        f"{LOCAL}, line 2",
    ),
    "no scheme": (
        SETTINGS,
        {"conf/base/": ""},
        {"uri": "myhost:5000"},
        "no address of a tracking server",
        "",
    ),
    "a path": (SETTINGS, {"conf/base/": ""}, {"uri": "mlruns"}, "no address of a tracking server", ""),
    "a login in the address": (
        SETTINGS,
        {"conf/base/": ""},
        {"uri": "http://me:pw@host"},
        "holds a login",
        "http://****@host",
    ),
    "no configuration": ("CONF_SOURCE = 'elsewhere'\n", {"conf/base/": ""}, {}, "is no directory", ""),
    "computed settings": (
        "import os\nCONF_SOURCE = os.environ['X']\n",
        {"conf/base/": ""},
        {},
        "computes CONF_SOURCE",
        "",
    ),
}
