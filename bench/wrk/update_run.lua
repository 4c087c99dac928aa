-- Arguments: the first number, and how many runs were loaded; their ids are their numbers. Each request ends the next run: its
-- end is the first number and how often this load has updated it. The threads use different runs.
require("common")

function init(args)
  first = tonumber(args[1])
  total = tonumber(args[2])
  place = number
end

function request()
  local body = string.format('{"run_id": "%032x", "status": "FINISHED", "end_time": %d}', place % total, first + math.floor(place / total) + 1)
  place = place + 2
  return wrk.format("POST", "/api/2.0/mlflow/runs/update", headers, body)
end
