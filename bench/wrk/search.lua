-- Arguments: the id of the experiment, and a filter or nothing. Each request is the first page of its runs, newest first.
require("common")

function init(args)
  body = string.format('{"experiment_ids": ["%s"], "max_results": 100, "filter": "%s", "order_by": ["attributes.start_time DESC"]}', args[1], args[2])
end

function request()
  return wrk.format("POST", "/api/2.0/mlflow/runs/search", headers, body)
end
