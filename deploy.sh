#!/bin/sh
exec substitute "$@"
