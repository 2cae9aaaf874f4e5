-- Asks Portcullis whether a request may pass, and who it is that asks: the action `lua.portcullis` of haproxy-forward-auth.cfg.
--
-- The path of PORTCULLIS_QUESTION names the resource; PORTCULLIS_HOST is the host of baseUrl. Afterwards txn.portcullis is
-- `pass`, `401`, `403` or `unanswered`, and txn.challenge is what a client is told with a refusal.

local question, host = os.getenv("PORTCULLIS_QUESTION"), os.getenv("PORTCULLIS_HOST")

-- All of them are taken over, those that say nothing too, so that none of a client's own stays.
local answered = {
  "authorization", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username", "x-session-id",
}

local function values(fields, name)
  local list, found = {}, fields[name]
  local place = 0
  while found and found[place] do
    list[place + 1] = found[place]
    place = place + 1
  end
  return list
end

core.register_action("portcullis", { "http-req" }, function(txn)
  local received = txn.http:req_get_headers()
  -- Nothing of the client's goes into the question but what it is about.
  local asked = {
    ["host"] = { host },
    ["x-forwarded-host"] = { host },
    ["x-forwarded-proto"] = { "https" },
    ["x-forwarded-for"] = { txn.f:src() },
    ["x-original-uri"] = { txn.f:pathq() },
  }
  for _, name in ipairs({ "authorization", "origin" }) do
    local given = values(received, name)
    if #given > 0 then
      asked[name] = given
    end
  end

  local answer = core.httpclient():get({ url = question, headers = asked, timeout = 5000 })
  local status = answer and answer.status
  if status == 200 then
    for _, name in ipairs(answered) do
      txn.http:req_set_header(name, values(answer.headers, name)[1] or "")
    end
    txn:set_var("txn.portcullis", "pass")
  elseif status == 401 or status == 403 then
    txn:set_var("txn.portcullis", tostring(status))
    txn:set_var("txn.challenge", values(answer.headers, "www-authenticate")[1] or "Bearer")
  else
    txn:set_var("txn.portcullis", "unanswered")
  end
end)
