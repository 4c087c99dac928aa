-- Arguments: the first step, then ids of runs. Each request logs 100 metrics of one step; the threads use different runs.
require("common")

init = take_runs

function request()
  count = count + 1
  local metrics = {}
  for i = 1, 100 do
    metrics[i] = string.format('{"key": "metric-%d", "value": %f, "timestamp": %d, "step": %d}', i, i / count, first + count, first + count)
  end
  local body = string.format('{"run_id": "%s", "metrics": [%s]}', runs[count % #runs + 1], table.concat(metrics, ","))
  return wrk.format("POST", "/api/2.0/mlflow/runs/log-batch", headers, body)
end
