-- Argument: how many runs were loaded. Each request reads one of them; their ids are their numbers.
require("common")

function init(args)
  total = tonumber(args[1])
  count = number
end

function request()
  count = count + 7919
  return wrk.format("GET", string.format("/api/2.0/mlflow/runs/get?run_id=%032x", count % total), headers)
end
