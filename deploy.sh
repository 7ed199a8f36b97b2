#!/bin/sh
# The command `substitute` under the name that it had first: `./deploy.sh deploy` is `substitute deploy`.
# It is for scripts that still call that name. Type `substitute`.
exec substitute "$@"
