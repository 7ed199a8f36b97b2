#!/bin/sh
# PM2's cluster: each process is started anew, and then the old one is told to stop.
#   pm2_reload.sh deploy | rollback
set -eu
. ./site.env                                    # PORT_A PM2
if [ "$1" = deploy ]; then
    git -C a fetch --quiet origin
    git -C a reset --quiet --hard origin/main
else
    git -C a reset --quiet --hard HEAD~1
fi
export PORT=$PORT_A
if [ -f started ]; then
    $PM2 reload shop
else
    $PM2 start a/www.js --name shop -i 2 --kill-timeout 10000
    touch started
fi
