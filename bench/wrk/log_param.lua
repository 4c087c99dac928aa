-- Arguments: the first number, then ids of runs. Each request logs one param of a new key; the threads use different runs.
require("common")

init = take_runs
request = new_key("log-parameter", "param")
