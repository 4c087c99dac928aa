"""The tracking server of a stack: `python -m provision_server server | bootstrap | probe TOPIC`."""
