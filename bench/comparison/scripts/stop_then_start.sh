#!/bin/sh
# One directory, one port: pull, stop, start.
#   stop_then_start.sh deploy | rollback
set -eu
. ./site.env                                    # PORT_A
if [ "$1" = deploy ]; then
    git -C a fetch --quiet origin
    git -C a reset --quiet --hard origin/main
else
    git -C a reset --quiet --hard HEAD~1
fi
if [ -f a.pid ]; then
    kill "$(cat a.pid)"
    while kill -0 "$(cat a.pid)" 2>/dev/null; do sleep 0.05; done
fi
(cd a && PORT=$PORT_A exec setsid node www.js >>../a.log 2>&1 </dev/null) &
echo $! >a.pid
until curl --silent --fail --output /dev/null "http://127.0.0.1:$PORT_A/"; do sleep 0.05; done
