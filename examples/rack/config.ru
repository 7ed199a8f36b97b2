# A Rack app; Puma finishes its requests after SIGTERM.

require_relative "lib/orders"

HEADERS = {
  "content-type" => "text/plain",
  "x-version" => ENV.fetch("SUBSTITUTE_COMMIT", ""),
  "x-instance" => ENV.fetch("SUBSTITUTE_INSTANCE", "")
}

def answer(status, text, headers = {})
  [status, HEADERS.merge("content-length" => text.bytesize.to_s).merge(headers), [text]]
end

run lambda { |env|
  case [env["REQUEST_METHOD"], env["PATH_INFO"]]
  in ["GET", "/up"]
    answer(200, "up\n")
  in ["GET", "/"]
    answer(200, "hello from rack\n")
  in ["POST", "/"]
    id = Orders.add(env["rack.input"].read)
    answer(201, "#{id}\n", "location" => "/orders/#{id}")
  in ["GET", %r{\A/orders/(\h+)\z}]
    text = Orders.text($1)
    text ? answer(200, text) : answer(404, "no such order\n")
  else
    answer(404, "not found\n")
  end
}
