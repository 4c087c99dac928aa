-- Arguments: the first number, then ids of runs. Each request sets one tag of a new key; the threads use different runs.
require("common")

function init(args)
  take_runs(args)
end

function request()
  count = count + 1
  local body = string.format('{"run_id": "%s", "key": "tag-%d", "value": "%f"}', runs[count % #runs + 1], first + count, 1 / count)
  return wrk.format("POST", "/api/2.0/mlflow/runs/set-tag", headers, body)
end
