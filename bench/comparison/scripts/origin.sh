#!/bin/sh
# Two slots behind an nginx that lists both and is never told anything. The old one gets SIGTERM; nginx finds out.
#   origin.sh deploy | rollback
set -eu
. ./site.env                                    # PORT_A PORT_B
live=$(cat live 2>/dev/null || echo b)
if [ "$live" = a ]; then new=b PORT=$PORT_B; else new=a PORT=$PORT_A; fi

if [ "$1" = deploy ]; then
    git -C $new fetch --quiet origin
    git -C $new reset --quiet --hard origin/main
fi
(cd $new && PORT=$PORT exec setsid node www.js >>../$new.log 2>&1 </dev/null) &
echo $! >$new.pid
if [ "$1" = deploy ]; then
    sleep 10                                    # time to boot
else
    until curl --silent --fail --output /dev/null "http://127.0.0.1:$PORT/"; do sleep 0.05; done
fi
if [ -f "$live.pid" ]; then
    kill "$(cat "$live.pid")"
    while kill -0 "$(cat "$live.pid")" 2>/dev/null; do sleep 0.05; done
fi
echo $new >live
