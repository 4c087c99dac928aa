"""Runs under a project's own interpreter (`-c`): what Kedro's own loader gives for MLflow, as one JSON line.

It contacts no server. Arguments: the project's directory, then environments.
"""

from __future__ import annotations

import sys

# The current directory must not offer modules: under `kedro run` it does not either.
sys.path[:] = [entry for entry in sys.path if entry]

import hashlib  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
from importlib import metadata  # noqa: E402
from typing import Any  # noqa: E402


def main(project: str, environments: list[str]) -> dict[str, Any]:
    """Return the document to print: the settings in force, and each environment's values or its error."""
    startup = importlib.import_module("kedro.framework.startup")
    # Bytecode may be kept for packages of this environment's owner, never in the project.
    _config_model()
    sys.dont_write_bytecode = True
    startup.bootstrap_project(startup.Path(project))
    framework = importlib.import_module("kedro.framework.project")
    # Kedro's settings swallow a settings.py that does not import; a session does not.
    framework.validate_settings()
    settings = framework.settings
    arguments = dict(settings.CONFIG_LOADER_ARGS)
    document: dict[str, Any] = {
        "kedro": _version("kedro"),
        "kedro_mlflow": _version("kedro-mlflow"),
        "mlflow": _version("mlflow") or _version("mlflow-skinny"),
        "facts": _facts(settings, arguments, project),
        "environments": {},
    }
    for env in environments:
        try:
            document["environments"][env] = _values(settings, arguments, project, env)
        except Exception as error:
            document["environments"][env] = _failure(error)
    return document


def _failure(error: Exception) -> dict[str, Any]:
    """Return the error in one line, with what it is about.

    That is the values of mlflow.yml which it names, and whether a hook of the project's could prevent it.
    """
    refused: list[tuple[str, str]] = []
    if hasattr(error, "errors"):
        # Of pydantic, by which kedro-mlflow checks mlflow.yml.
        refused = [(".".join(map(str, found["loc"])), str(found["msg"])) for found in error.errors()]
    elif key := getattr(error, "full_key", None):
        # Of OmegaConf, which resolves interpolations.
        refused = [(str(key), str(error).splitlines()[0])]
    return {
        "error": f"{type(error).__name__}: {' '.join(str(error).split())}",
        "refused": refused,
        # No hooks run here, and one of them may register the resolver; `oc.env` Kedro itself takes away.
        "uncertain": type(error).__name__ == "UnsupportedInterpolationType" and "oc.env" not in str(error),
    }


def _facts(settings: Any, arguments: dict[str, Any], project: str) -> dict[str, Any]:
    patterns = arguments.get("config_patterns") or {}
    # Releases of Kedro differ in what CONFIG_LOADER_ARGS may leave out; the loader knows.
    try:
        loader = _loader(settings, arguments, project, "")
    except Exception:
        loader = None
    return {
        "conf_source": str(settings.CONF_SOURCE),
        "base_env": str(getattr(loader, "base_env", arguments.get("base_env")) or ""),
        "default_run_env": str(getattr(loader, "default_run_env", arguments.get("default_run_env")) or ""),
        "merge_strategy": (arguments.get("merge_strategy") or {}).get("mlflow", "destructive"),
        "patterns": {kind: list(globs) for kind, globs in patterns.items()},
    }


def _loader(settings: Any, arguments: dict[str, Any], project: str, env: str) -> Any:
    source = os.path.join(project, str(settings.CONF_SOURCE))  # noqa: PTH118
    return settings.CONFIG_LOADER_CLASS(conf_source=source, env=env or None, runtime_params=None, **arguments)


def _values(settings: Any, arguments: dict[str, Any], project: str, env: str) -> dict[str, Any]:
    missing = importlib.import_module("kedro.config").MissingConfigException
    loader = _loader(settings, arguments, project, env)
    # What kedro-mlflow's hook does, without its last step, which asks the server.
    _register_resolvers()
    if "mlflow" not in loader.config_patterns:
        loader.config_patterns.update({"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]})
    try:
        conf = loader["mlflow"]
    except missing:
        conf = {}
    problem, hint, experiment, restores = _tracking(settings, conf)
    server = conf.get("server") or {}
    name = server.get("credentials")
    try:
        entry = loader["credentials"].get(name) or {}
    except missing:
        entry = {}
    uri = server.get("mlflow_tracking_uri")
    origin = "file" if uri else "environment variable" if os.environ.get("MLFLOW_TRACKING_URI") else "default"
    return {
        "uri": uri or os.environ.get("MLFLOW_TRACKING_URI", "mlruns"),
        "origin": origin,
        "registry": server.get("mlflow_registry_uri") or os.environ.get("MLFLOW_REGISTRY_URI"),
        "credentials": name,
        "problem": problem,
        "hint": hint,
        "experiment": experiment or importlib.import_module("kedro.framework.project").PACKAGE_NAME,
        "restores": restores,
        "login": {key: hashlib.sha256(str(value).encode()).hexdigest() for key, value in entry.items()},
    }


def _tracking(settings: Any, conf: dict[str, Any]) -> tuple[str, str, str | None, bool]:
    """Return why a plain `kedro run` leaves no run on the server, what fixes it, and its experiment.

    The experiment is its name (None for the default), and whether a deleted one is restored. Raise an error
    when kedro-mlflow refuses the configuration.
    """
    if not _version("kedro-mlflow"):
        return (
            "kedro-mlflow is not installed there, so no run is tracked",
            "install it in the environment that runs Kedro",
            None,
            True,
        )
    model = _config_model()
    if isinstance(model, ImportError):
        hint = "fix the environment that runs Kedro: `pip check` says what does not fit"
        return f"kedro-mlflow cannot be imported there: {model}", hint, None, True
    config = (model.model_validate if hasattr(model, "model_validate") else model.parse_obj)({**conf})
    experiment = _part(config, "tracking", "experiment", default=None)
    # Kedro-mlflow takes the package's name where the file has none, whatever its model says.
    written = ((conf.get("tracking") or {}).get("experiment") or {}).get("name")
    return (
        *_untracked(settings, config),
        written,
        bool(_part(experiment, "restore_if_deleted", default=True)),
    )


def _untracked(settings: Any, config: Any) -> tuple[str, str]:
    """Return why a plain `kedro run` with that configuration leaves no run on the server.

    Return also what fixes it; both are "" when nothing is wrong.
    """
    # Kedro compares with the name that the installed package gives itself.
    name = metadata.metadata("kedro-mlflow")["Name"]
    if name in tuple(settings.DISABLE_HOOKS_FOR_PLUGINS):
        return (
            "settings.py disables the hook of kedro-mlflow, so no run is tracked",
            f"take {name!r} out of DISABLE_HOOKS_FOR_PLUGINS",
        )
    if "__default__" in _part(config, "tracking", "disable_tracking", "pipelines", default=()):
        key = "tracking.disable_tracking.pipelines"
        return (
            f"{key} has __default__, so a plain `kedro run` is not tracked",
            f"take __default__ out of {key} in mlflow.yml",
        )
    key = "tracking.experiment.create_experiment_kwargs.artifact_location"
    location = _part(config, *key.split("."), default=None)
    if location and not str(location).startswith("mlflow-artifacts:"):
        return (
            (
                f"{key} is {location}: a tracking server with an artifact store of its own refuses that, "
                "or each client needs a key to it"
            ),
            (
                "take artifact_location out of mlflow.yml; an experiment that has one keeps it, "
                "so give it another name too"
            ),
        )
    return "", ""


def _register_resolvers() -> None:
    """Register the resolver that kedro-mlflow gives to mlflow.yml, where its release has it."""
    try:
        resolve = importlib.import_module("kedro_mlflow.config.resolvers").resolve_random_name
        omegaconf = importlib.import_module("omegaconf").OmegaConf
    except (ImportError, AttributeError):
        return
    if not omegaconf.has_resolver("km.random_name"):
        omegaconf.register_new_resolver("km.random_name", resolve, use_cache=True)


def _part(config: Any, *names: str, default: Any) -> Any:
    """Return what the configuration has there, else the default; versions of kedro-mlflow differ."""
    for name in names:
        config = getattr(config, name, None)
    return default if config is None else config


def _config_model() -> Any:
    """Return the model of mlflow.yml, or the error that importing it gives."""
    try:
        return importlib.import_module("kedro_mlflow.config.kedro_mlflow_config").KedroMlflowConfig
    except ImportError as error:
        return error


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    # Projects and their logging write to standard output; the answer has a channel of its own.
    channel = os.dup(1)
    sys.dont_write_bytecode = os.stat(sys.prefix).st_uid != os.geteuid()  # noqa: PTH116
    os.dup2(2, 1)
    try:
        answer = main(sys.argv[1], sys.argv[2:])
    except BaseException as failure:
        answer = {"error": f"{type(failure).__name__}: {failure}"}
    os.write(channel, json.dumps(answer).encode())
    # Threads that a project started must not keep us.
    os._exit(0)
