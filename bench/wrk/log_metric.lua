-- Arguments: the first step, then ids of runs. Each request logs one metric; the threads use different runs.
require("common")

init = take_runs

function request()
  count = count + 1
  local body = string.format('{"run_id": "%s", "key": "loss", "value": %f, "timestamp": %d, "step": %d}',
    runs[count % #runs + 1], 1 / count, first + count, first + count)
  return wrk.format("POST", "/api/2.0/mlflow/runs/log-metric", headers, body)
end
