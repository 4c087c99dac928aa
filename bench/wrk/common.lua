-- What all scripts share: the login from the environment, a number for each thread, the result as one line of JSON.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

headers = {["Content-Type"] = "application/json"}
local authorization = os.getenv("BENCH_AUTHORIZATION")
if authorization and authorization ~= "" then
  headers["Authorization"] = authorization
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %f, "status_errors": %d, "socket_errors": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

-- Takes the arguments of what writes to runs: the first number, then ids of runs; the threads use different ones.
function take_runs(args)
  first = tonumber(args[1])
  runs = {}
  for i = 2 + number, #args, 2 do runs[#runs + 1] = args[i] end
  count = 0
end

-- Returns the request that writes a value of a new key to the next run.
function new_key(route, name)
  return function()
    count = count + 1
    local body = string.format('{"run_id": "%s", "key": "%s-%d", "value": "%f"}', runs[count % #runs + 1], name, first + count, 1 / count)
    return wrk.format("POST", "/api/2.0/mlflow/runs/" .. route, headers, body)
  end
end
