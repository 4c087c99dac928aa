-- Arguments: the first step, then ids of runs. Each request logs one metric; the threads use different runs.
require("common")

function init(args)
  step = tonumber(args[1])
  runs = {}
  for i = 2 + number, #args, 2 do runs[#runs + 1] = args[i] end
  count = 0
end

function request()
  count = count + 1
  local body = string.format('{"run_id": "%s", "key": "loss", "value": %f, "timestamp": %d, "step": %d}',
    runs[count % #runs + 1], 1 / count, step + count, step + count)
  return wrk.format("POST", "/api/2.0/mlflow/runs/log-metric", headers, body)
end
