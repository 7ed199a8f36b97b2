bind "tcp://#{ENV.fetch("ADDRESS", "127.0.0.1:3000")}"
threads 1, 5
environment ENV.fetch("RACK_ENV", "production")
force_shutdown_after 25 # less than stop.timeout
