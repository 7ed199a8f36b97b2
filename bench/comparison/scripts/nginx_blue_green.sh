#!/bin/sh
# Two directories, two ports, and `nginx -s reload`, as many a guide has it.
#   nginx_blue_green.sh deploy | rollback
set -eu
. ./site.env                                    # PORT_A PORT_B NGINX UPSTREAM
live=$(cat live 2>/dev/null || echo b)
if [ "$live" = a ]; then new=b PORT=$PORT_B; else new=a PORT=$PORT_A; fi

if [ "$1" = deploy ]; then
    git -C $new fetch --quiet origin
    git -C $new reset --quiet --hard origin/main
fi
(cd $new && PORT=$PORT exec setsid node www.js >>../$new.log 2>&1 </dev/null) &
echo $! >$new.pid
until curl --silent --fail --output /dev/null "http://127.0.0.1:$PORT/"; do sleep 0.05; done

echo "upstream shop { server 127.0.0.1:$PORT; }" >"$UPSTREAM"
$NGINX -s reload
sleep 1                                         # the workers of before let go
if [ -f "$live.pid" ]; then
    kill "$(cat "$live.pid")"
    while kill -0 "$(cat "$live.pid")" 2>/dev/null; do sleep 0.05; done
fi
echo $new >live
