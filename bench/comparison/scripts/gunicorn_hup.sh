#!/bin/sh
# gunicorn takes SIGHUP for: new workers of the new code, and let the old ones finish.
#   gunicorn_hup.sh deploy | rollback
set -eu
. ./site.env                                    # PORT_A GUNICORN
if [ "$1" = deploy ]; then
    git -C a fetch --quiet origin
    git -C a reset --quiet --hard origin/main
else
    git -C a reset --quiet --hard HEAD~1
fi
if [ -f gunicorn.pid ]; then
    kill -HUP "$(cat gunicorn.pid)"
else
    $GUNICORN --chdir a --bind "127.0.0.1:$PORT_A" --workers 2 --threads 8 --keep-alive 75 --pid "$PWD/gunicorn.pid" \
        --error-logfile "$PWD/a.log" --daemon app:application
fi
