-- Arguments: the first number, which is in the runs' names, and the id of the experiment. Each request makes a run there.
require("common")

function init(args)
  first = tonumber(args[1])
  experiment = args[2]
  count = 0
end

function request()
  count = count + 1
  local body = string.format('{"experiment_id": "%s", "user_id": "ana", "run_name": "made-%d-%d-%d", "start_time": %d, "tags": [' ..
    '{"key": "mlflow.user", "value": "ana"}, {"key": "mlflow.source.name", "value": "train.py"}, {"key": "mlflow.source.type", "value": "LOCAL"}]}',
    experiment, first, number, count, first + count)
  return wrk.format("POST", "/api/2.0/mlflow/runs/create", headers, body)
end
