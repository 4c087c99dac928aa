"""A Kedro project and its link to a tracking server; knows no stack and no runtime."""
