"""The project's settings; Kedro's defaults do."""
