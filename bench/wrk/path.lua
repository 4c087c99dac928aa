-- Argument: a path with its query. Each request reads it.
require("common")

function init(args)
  path = args[1]
end

function request()
  return wrk.format("GET", path, headers)
end
