#!/bin/sh
# The registrar and its verbs, run by the Node of the package. The unit does without this file.

# @foreign@

unset NODE_OPTIONS $(foreign)
exec /usr/lib/metabind-registrar/bin/node --max-old-space-size=768 /usr/lib/metabind-registrar/metabind-registrar.cjs "$@"
