"""What the stores of our own were written against, and whether the server here is exactly that.

They answer in place of MLflow's methods, so any other MLflow may mean something else by them. MLflow
is read as files: importing it takes seconds, and a probe asks beside a working server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from provision_server.settings import Fault, Settings
from provision_server.stores import postgres
from provision_server.stores.schema import AUTH, TRACKING, Schema, current, head, mlflow_package

# When MLflow moves, `tests/unit/provision_server/test_pinned.py` says what to look at and to write here.
MLFLOW = "3.17.2"
REVISIONS = {TRACKING: "dc11669786a5", AUTH: "f1a2b3c4d5e6"}
# Of the files that overridden methods live in and lean on, below MLflow's package: the SHA-256.
FILES = {
    "entities/dataset.py": "b2c11a8d859ca98c5ae7a7d9f7fdbde5de6396927728c20c6df143c05a39df5d",
    "entities/dataset_input.py": "ecaf456dddfc9083a34bdce9afccfc1a0f4da276a6ced28d1cb39d8148d6b632",
    "entities/input_tag.py": "5543f11aba831476b1ca9d0ae6ab1fbc0debef6afa0ed68b0d457d2913e41a86",
    "entities/lifecycle_stage.py": "7b6964f1bf9d590b563797a654dd09c9316639338009551077a0adfb31ed1884",
    "entities/logged_model_input.py": "83a9bcbc23831ce08449f469d1b69ed1eff7b2ba65941ebd8ab60268f08a6939",
    "entities/logged_model_output.py": "3f9eebc7c1cbc446d3f3226653b60b3038195f684a13d3d3abc2da6e16e97700",
    "entities/metric.py": "46540a24c3a14300cce6156b13bf7925fbaa8cf917846efba0cef1b82a1e9467",
    "entities/param.py": "50295a1cdaf064c4791d08643eaaff6a67cb845110f4c0157aa38b6d369e737e",
    "entities/run.py": "e793004bab29af87b7dd60449aadd47854216cd354e975f6274c56f5e8f572ec",
    "entities/run_data.py": "d5c5198bdc67d1475326d20ff606877e90215081109bdcf42046d521d48ea960",
    "entities/run_info.py": "f8b65a6b82e52c1060a5833bf3b0edc95502bc05dd7de9a4ebd59eadbbf8555d",
    "entities/run_inputs.py": "a4a01ca8f523c351bb5c45f654504cf1b5582423bab0cc479851e7909f796a61",
    "entities/run_outputs.py": "8b2db08bfe6e73bda6d2f427bcfca7115c9e2c28d3857b27f12c0f5fbd5eef6a",
    "entities/run_status.py": "13034cfc8f412ed3100f388052d63bb92a2adb33e86fe499d7eda65da756b8b0",
    "entities/run_tag.py": "17ba162b3e8701c0704ebb23e4cdbd66fdec416168b687eccfa18dad8bbb4d50",
    "entities/view_type.py": "aba4ceda1a46b3751fde1991116bf193199d8f0eaa55ca63969d5785a2a9737a",
    "server/auth/__init__.py": "518cd2774b02a0daf682c93758b187c9b2a85d0179d43db6ca6cd5522a7ebad6",
    "server/auth/db/models.py": "20f8523abcdbee79349402baf214f71f8c2c54ab1cf6e4cc5194feccef0791d2",
    "server/auth/entities.py": "e8eaf6e4172e8dbd049f9fd760899adcbadaea030522e373ec3c4f6d3bbd3279",
    "server/auth/permissions.py": "fc1a40f8cd546602d137eb81e0a58fc52476a8171e1e3547cd084b4d011d6634",
    "server/auth/sqlalchemy_store.py": "5346083c8e67b3e0e42ea82614a643405aaadc016cc4e9fb1c7ec3f86f0a20ba",
    "server/handlers.py": "2b79b5db596a06112b5c301a21687616f6574d4bb7657944f1d77c22d3bb0056",
    "store/db/utils.py": "ef61d99c9927c6de62a70a8187787ed12f515b52a4a510b52a62a4ba83d9210c",
    "store/entities/paged_list.py": "4f69eab3c84a81cdc763105807e37fd0d0e169d14b156a10038ddf8703abf343",
    "store/tracking/abstract_store.py": "6e5acdf774421c1feeeb31c8bc45c56ef8b0eeb0bea692c7b069159b9a67fd41",
    "store/tracking/dbmodels/models.py": "fa72defb05db6cfc0d5b66e28599f5e95bb3b2b9f4a9d9da9126ab7d01287935",
    "store/tracking/sqlalchemy_store.py": "d705f6f28da89fb424ca7c908aacb3a0adacc126c32bdf10f23bd5c949523b4e",
    "utils/mlflow_tags.py": "47064b73ebd3b30890c39d16b0c75008627f34f17e4828e9e5846ec399f780b0",
    "utils/name_utils.py": "5faa99a77d3d5715da006a5c80ddd09a203ec9d55ed309cea1c2bf09edb48b88",
    "utils/search_utils.py": "44e3af5ca4dc85c179104a6d85aebfa2f04fa328dd909d7eb741a25f50e9a7df",
    "utils/uri.py": "5dd42a262a4412e8d1d8d08cffbe48926bd7ac976489a4e498ea557050d38647",
    "utils/validation.py": "ef10532642411441d79d3e26e3f96551160a9f4f4c3b8ce106081ba482bdf13a",
}

_DATABASE = "postgresql+psycopg2"
_OFF = ("", "0", "false")
_WORKSPACES = "MLFLOW_ENABLE_WORKSPACES"
# What MLflow's store reads from, where it is set.
_REPLICA = "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"
_SHOWN_FILES = 3


def reason_against(settings: Settings) -> str:
    """Return why MLflow's own store has to answer, in a few words; "" where ours may.

    Raise Fault when a database cannot be asked.
    """
    return _of_settings(settings) or _of_mlflow(settings) or _of_databases(settings)


def sha256_of(file: str) -> str:
    """Return the SHA-256 of that file of the installed MLflow, "" where there is none.

    Raise Fault when MLflow is not installed.
    """
    return _sha256(mlflow_package() / file)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _of_settings(settings: Settings) -> str:
    if not settings.fast:
        return "server.fast is false"
    if os.environ.get(_WORKSPACES, "").lower() not in _OFF:
        return f"workspaces are on ({_WORKSPACES})"
    if os.environ.get(_REPLICA):
        return f"a read replica is set ({_REPLICA})"
    for schema, uri in _schemas(settings).items():
        if (database := uri.partition(":")[0]) != _DATABASE:
            return f"the {schema.name} database is reached by {database}, not {_DATABASE}"
    return ""


def _of_mlflow(settings: Settings) -> str:
    try:
        installed = version("mlflow")
    except PackageNotFoundError:
        raise Fault("mlflow is not installed here") from None
    if installed != MLFLOW:
        return f"MLflow is {installed}, and it was written against {MLFLOW}"
    package = mlflow_package()
    if changed := [file for file, expected in FILES.items() if _sha256(package / file) != expected]:
        more = len(changed) - _SHOWN_FILES
        shown = ", ".join(changed[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
        return f"MLflow's files differ from those of {MLFLOW}: {shown}"
    for schema in _schemas(settings):
        if (found := head(schema)) != REVISIONS[schema]:
            return f"MLflow's {schema.name} schema is {found}, not {REVISIONS[schema]}"
    return ""


def _of_databases(settings: Settings) -> str:
    password = settings.secret("backend_store_password")
    for schema, uri in _schemas(settings).items():
        with contextlib.closing(postgres.connect(uri, password, settings.deadline)) as connection:
            found = current(connection, schema)
        if found != REVISIONS[schema]:
            return f"the {schema.name} schema is {found or 'missing'}, not {REVISIONS[schema]}"
    return ""


def _schemas(settings: Settings) -> dict[Schema, str]:
    """Return the schemas that the server uses, with their databases' URIs."""
    return {TRACKING: settings.backend_store} | ({AUTH: settings.auth_store} if settings.login else {})
